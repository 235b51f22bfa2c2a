"""``cxrbench perf time``: time each hot path separately."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, Json, OutputFormat, chosen_format, takes


@takes(
    *("data", "cache", "threads", "image_size", "device"),
    recipes="Recipes to time. [default: resnet+orb+sift, and all installed parts]",
)
def time(
    *,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Images per batch of a network. \\[default: 32]",
            rich_help_panel="Computing",
            show_default=False,
        ),
    ] = None,
    all_plugins: Annotated[
        bool,
        typer.Option("--all-plugins", help="Also time every installed extractor and backbone."),
    ] = False,
    output: OutputFormat = Format.table,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Time each hot path of recipes separately, then compare extractors and backbones.

    Each path runs in a process of its own. Warm-up calls are not counted.
    """
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.perf.timing import require_sound, time_paths
    from cxrbench.request import request_of

    chosen = chosen_format(output, as_json)
    is_table = chosen is Format.table
    request = request_of({**options, "batch_size": batch_size})
    # Plugins print at times; where standard output carries data, they must not.
    with nullcontext() if is_table else redirect_stdout(sys.stderr):
        timing = time_paths(
            request.recipes,
            data=request.data,
            cache=request.cache,
            threads=request.threads,
            all_plugins=all_plugins,
            display=RichDisplay(lines_on_stdout=is_table),
            **request.settings,
        )
    show(timing, chosen.value)
    require_sound(timing)
