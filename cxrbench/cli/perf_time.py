"""``cxrbench perf time``: what each hot path takes by itself."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import Annotated

import typer

from cxrbench.cli import run_options as of
from cxrbench.cli.options import Cache, Data, Json, Threads


def time(  # noqa: PLR0913 - each argument is an option of the command
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE…",
            help="Whose paths are timed \\[default: resnet+orb+sift, and all installed parts]",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    cache: Cache = None,
    threads: Threads = None,
    image_size: of.ImageSize = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Images in a batch of a network \\[default: 32]", rich_help_panel="Computing"
        ),
    ] = None,
    device: of.Device = None,
    all_plugins: Annotated[
        bool,
        typer.Option(
            "--all-plugins", help="Also every installed extractor and backbone beside the recipes'."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Time each hot path of recipes by itself, and extractors and backbones beside one another.

    Each path has a process of its own; its first calls are not among those that count.
    """
    from cxrbench.output.display import RichDisplay
    from cxrbench.perf.timed import print_timing
    from cxrbench.perf.timing import require_sound, time_paths

    # Plugins print at times; where standard output carries data, they must not.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        timing = time_paths(
            recipes or (),
            data=data,
            cache=cache,
            threads=threads,
            all_plugins=all_plugins,
            display=RichDisplay(lines_on_stdout=not as_json),
            image_size=image_size,
            batch_size=batch_size,
            device=device,
        )
    print_timing(timing, "json" if as_json else "table")
    require_sound(timing)
