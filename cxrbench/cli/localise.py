"""``cxrbench localise``: how well runs' saliency maps find the boxes of their test images."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Cache, Json, Runs, Threads

Method = Annotated[
    str,
    typer.Option(
        help="auto, gradcam, gradcam++ or occlusion; auto is gradcam, without a backbone occlusion"
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or gpu.")]
IouThreshold = Annotated[
    float,
    typer.Option(metavar="SHARE", help="IoU is of what has this share of the map's maximum."),
]


def localise(  # noqa: PLR0913 - each argument is an option of the command
    rows: Annotated[
        list[str],
        typer.Argument(metavar="RUN…", help="Run directories, or recipes: then all their seeds."),
    ],
    runs: Runs = Path("runs"),
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Where the runs' data are now \\[default: where they were]",
            show_default=False,
        ),
    ] = None,
    method: Method = "auto",
    iou_threshold: IouThreshold = 0.5,
    device: Device = "auto",
    cache: Cache = None,
    threads: Threads = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute again what the run has already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score runs' saliency maps against the boxes of their test images, and keep that with them."""
    from cxrbench.inference.documents import print_localisations
    from cxrbench.inference.localise import Asked, score_saliency
    from cxrbench.output.display import RichDisplay
    from cxrbench.registry import load_registry
    from cxrbench.runs.selection import find_row
    from cxrbench.settings import thread_count
    from cxrbench.store.cache import cache_folder

    asked = Asked(method, iou_threshold, data, device, force)
    with redirect_stdout(sys.stderr):
        registry, display = load_registry(), RichDisplay()
        found = [
            score_saliency(
                run,
                asked,
                registry,
                cache=cache_folder(cache),
                threads=thread_count(threads),
                display=display,
            )
            for run in (run for text in rows for run in find_row(text, runs))
        ]
    print_localisations(found, as_json=as_json)
