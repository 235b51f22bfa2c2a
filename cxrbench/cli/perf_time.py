"""``cxrbench perf time``: time each hot path separately."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, takes


@takes(
    *("data", "cache", "threads", "image_size", "device"),
    recipes="Recipes to time. [default: resnet+orb+sift, and all installed parts]",
)
def time(
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Images per batch of a network. \\[default: 32]",
            rich_help_panel="Computing",
        ),
    ] = None,
    all_plugins: Annotated[
        bool,
        typer.Option("--all-plugins", help="Also time every installed extractor and backbone."),
    ] = False,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Time each hot path of recipes separately, then compare extractors and backbones.

    Each path runs in a process of its own. Warm-up calls are not counted.
    """
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.perf.timing import require_sound, time_paths
    from cxrbench.request import request_of

    request = request_of({**options, "batch_size": batch_size})
    with progress(lines_on_stdout=output_format is Format.table) as display:
        timing = time_paths(
            request.recipes,
            data=request.data,
            cache=request.cache,
            threads=request.threads,
            all_plugins=all_plugins,
            display=display,
            **request.settings,
        )
    show(timing, output_format)
    require_sound(timing)
