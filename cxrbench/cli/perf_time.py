"""``cxrbench perf time``: the time of each hot path alone."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import Annotated

import typer

from cxrbench.cli import run_options as of
from cxrbench.cli.options import (
    Cache,
    Data,
    Format,
    Json,
    OutputFormat,
    Threads,
    chosen_format,
)


def time(  # noqa: PLR0913 - each argument is an option of the command
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE…",
            help="Time the paths of these \\[default: resnet+orb+sift, and all installed parts]",
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
        typer.Option("--all-plugins", help="Also time every installed extractor and backbone."),
    ] = False,
    output: OutputFormat = Format.table,
    as_json: Json = False,
) -> None:
    """Time each hot path of recipes alone, then compare extractors and backbones.

    Each path runs in its own process, and its first calls are not counted.
    """
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.perf.timing import require_sound, time_paths

    chosen = chosen_format(output, as_json)
    is_table = chosen is Format.table
    # Plugins print at times; where standard output carries data, they must not.
    with nullcontext() if is_table else redirect_stdout(sys.stderr):
        timing = time_paths(
            recipes or (),
            data=data,
            cache=cache,
            threads=threads,
            all_plugins=all_plugins,
            display=RichDisplay(lines_on_stdout=is_table),
            image_size=image_size,
            batch_size=batch_size,
            device=device,
        )
    show(timing, chosen.value)
    require_sound(timing)
