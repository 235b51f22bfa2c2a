"""``cxrbench data prepare``: decode the images of a cohort for later runs."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cxrbench.cli.options import Config, Json, config_options, takes


class SeveralRecipes(TyperCommand):
    """A command whose ``--for`` takes all recipes that follow it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread, follows = list[str](), False
        for arg in args:
            if arg.startswith("-"):
                follows = arg == "--for"
            if not follows:
                spread.append(arg)
            elif arg != "--for":
                spread += ["--for", arg]
        return super().parse_args(ctx, spread)


@takes(
    *("data", "cache", "threads", "image_size", "fit", "clahe", "max_pixels", "max_bad"),
    *("protocol", "augment", "clahe_share"),
)
def prepare(
    where: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Same as --data.", show_default=False),
    ] = None,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="RECIPE…",
            help="The recipes of the later run, such as resnet resnet+orb+sift.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Decode each image once, and cache the data that `cxrbench run RECIPE…` needs.

    Use the same data and options as for the run. The run then decodes nothing.
    """
    from cxrbench.errors import SettingsError
    from cxrbench.experiment.preparing import prepare_ahead
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.request import request_of

    if where is not None and "data" in options:
        raise SettingsError(
            "the data were named twice",
            expected="DATA or --data DATA",
            found=f"{where} and --data {options['data']}",
        )
    given = {"data": where, **options, "recipes": recipes or None}
    request = request_of(config_options(config) | {n: v for n, v in given.items() if v is not None})
    display = RichDisplay(lines_on_stdout=not as_json)
    # Plugins print at times; where standard output carries data, they must not.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        ahead = prepare_ahead(request, display)
    show(ahead, "json" if as_json else "table")
