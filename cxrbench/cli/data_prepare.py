"""``cxrbench data prepare``: decode the images of a cohort for later runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cxrbench.cli.help import PlainCommand
from cxrbench.cli.options import (
    Config,
    Format,
    complete_data,
    complete_recipes,
    takes,
    with_config,
)


class SeveralRecipes(PlainCommand):
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
        typer.Argument(metavar="DATA", help="Same as --data.", autocompletion=complete_data),
    ] = None,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="RECIPE…",
            autocompletion=complete_recipes,
            help="The recipes of the later run, such as resnet resnet+orb+sift.",
        ),
    ] = None,
    config: Config = None,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Decode each image once, and cache the data that `cxrbench run RECIPE…` needs.

    Use the same data and options as for the run. The run then decodes nothing.
    """
    from cxrbench.errors import SettingsError
    from cxrbench.experiment.preparing import prepare_ahead
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.request import request_of

    if where is not None and "data" in options:
        raise SettingsError(
            "the data were named twice",
            expected="DATA or --data DATA",
            found=f"{where} and --data {options['data']}",
        )
    options |= {"data": where} if where else {}
    options |= {"recipes": recipes} if recipes else {}
    request = request_of(with_config(config, options, unused=("split",)))
    with progress(lines_on_stdout=output_format is Format.table) as display:
        ahead = prepare_ahead(request, display)
    show(ahead, output_format)
