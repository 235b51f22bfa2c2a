"""``cxrbench data prepare``: decode a cohort's images for recipes that are run later."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cxrbench.cli import run_options as of
from cxrbench.cli.options import Cache, Config, Data, Json, Threads

if TYPE_CHECKING:
    from cxrbench.experiment.preparing import Ahead

_OWN = ("where", "config", "as_json")
# What a file of options has for a run, and images do not depend on.
_OF_RUNS = ("runs", "seed", "seeds", "force", "ablation")


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


def prepare(  # noqa: PLR0913 - each argument is an option of the command
    context: typer.Context,
    where: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="The same as --data.", show_default=False),
    ] = None,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="RECIPE…",
            help="The recipes that will be run, such as resnet resnet+orb+sift.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    cache: Cache = None,
    threads: Threads = None,
    image_size: of.ImageSize = None,
    fit: of.Fit = None,
    clahe: of.Clahe = None,
    max_pixels: of.MaxPixels = None,
    max_bad: of.MaxBad = None,
    protocol: of.Protocol = None,
    augment: of.Augment = None,
    clahe_share: of.ClaheShare = None,
    as_json: Json = False,
) -> None:
    """Decode each image once and keep what `cxrbench run RECIPE…` will want of it.

    Give the options that the run will have. It then starts without decoding anything.
    """
    from cxrbench.experiment.preparing import prepare_ahead
    from cxrbench.output.display import RichDisplay
    from cxrbench.store.documents import print_ahead

    asked = _asked(context.params)
    display = RichDisplay(lines_on_stdout=not as_json)
    # Plugins print at times; where standard output carries data, they must not.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        ahead = prepare_ahead(display=display, **asked)
    if as_json:
        typer.echo(json.dumps(_as_json(ahead), indent=2))
    else:
        print_ahead(ahead)


def _asked(parameters: dict[str, Any]) -> dict[str, Any]:
    """What is given on the command line, else in the file."""
    from cxrbench.errors import SettingsError
    from cxrbench.runs.settings_file import read_config

    where, config = parameters["where"], parameters["config"]
    if where is not None and parameters["data"] is not None:
        raise SettingsError(
            "the data were named twice",
            expected="DATA or --data DATA",
            found=f"{where} and --data {parameters['data']}",
        )
    given = {**parameters, "data": where or parameters["data"]}
    told = {} if config is None else read_config(config)
    told |= {n: v for n, v in given.items() if n not in _OWN and v is not None and v != ()}
    return {name: value for name, value in told.items() if name not in _OF_RUNS}


def _as_json(ahead: Ahead) -> dict[str, Any]:
    from cxrbench.store.documents import entry_as_json

    return {
        "data": ahead.data,
        "images": ahead.images,
        "usable": ahead.usable,
        "excluded": [asdict(exclusion) for exclusion in ahead.excluded],
        "stores": [
            {**entry_as_json(entry), "made": entry.key in ahead.made} for entry in ahead.stores
        ],
    }
