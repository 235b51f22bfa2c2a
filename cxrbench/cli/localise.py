"""``cxrbench localise``: score the saliency maps of runs against the boxes of test images."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, complete_runs, takes

Method = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        help="Method of the saliency maps: auto, gradcam, gradcam++ or occlusion. auto: gradcam "
        "with a backbone, else occlusion.",
    ),
]
IouThreshold = Annotated[
    float,
    typer.Option(
        metavar="SHARE", help="IoU counts pixels with at least this share of the map's maximum."
    ),
]


@takes(
    *("runs", "device", "cache", "threads"),
    data="Folder or dataset with the images and boxes. [default: where the runs found them]",
    force="Replace stored scores.",
)
def localise(
    rows: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…",
            autocompletion=complete_runs,
            help="Run directories or recipes. A recipe stands for all its seeds.",
        ),
    ],
    method: Method = "auto",
    iou_threshold: IouThreshold = 0.5,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Score saliency maps against the boxes of test images, and store the scores with the runs."""
    from functools import cache

    from cxrbench.inference.localisation_tables import SaliencyScores
    from cxrbench.inference.localise import LocaliseOptions, score_saliency
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.request import request_of
    from cxrbench.runs.run import read_run
    from cxrbench.runs.selection import find_row

    request = request_of(options)
    localising = LocaliseOptions(method, iou_threshold, request.data, request.device, request.force)
    with progress() as display:
        registry = load_registry()
        read = cache(read_run)  # each row looks at all runs
        named = [find_row(text, request.runs, read=read, scored_alike=False) for text in rows]
        runs = {run.path: run for row in named for run in row}
        display.say("loading the models…")
        scores = tuple(
            score_saliency(
                run,
                localising,
                registry,
                cache=request.cache,
                threads=request.thread_count,
                display=display,
            )
            for run in runs.values()
        )
    show(SaliencyScores(scores), output_format)
