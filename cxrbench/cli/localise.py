"""``cxrbench localise``: score the saliency maps of runs against the boxes of test images."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Cache, Format, Json, OutputFormat, Runs, Threads, chosen_format

Method = Annotated[
    str,
    typer.Option(
        help="auto, gradcam, gradcam++ or occlusion; auto is gradcam with a backbone, else "
        "occlusion."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or gpu.")]
IouThreshold = Annotated[
    float,
    typer.Option(
        metavar="SHARE", help="IoU counts pixels with at least this share of the map's maximum."
    ),
]


def localise(  # noqa: PLR0913 - each argument is an option of the command
    rows: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…",
            help="Run directories or recipes. A recipe stands for all its seeds.",
        ),
    ],
    runs: Runs = Path("runs"),
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Where the data of the runs are. \\[default: where the runs found them]",
            show_default=False,
        ),
    ] = None,
    method: Method = "auto",
    iou_threshold: IouThreshold = 0.5,
    device: Device = "auto",
    cache: Cache = None,
    threads: Threads = None,
    force: Annotated[bool, typer.Option("--force", help="Replace stored scores.")] = False,
    output_format: OutputFormat = Format.table,
    as_json: Json = False,
) -> None:
    """Score saliency maps against the boxes of test images, and store the scores with the runs."""
    from cxrbench.inference.localisation_tables import SaliencyScores
    from cxrbench.inference.localise import LocaliseOptions, score_saliency
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.runs.selection import find_row
    from cxrbench.settings import thread_count
    from cxrbench.store.cache import cache_folder

    options = LocaliseOptions(method, iou_threshold, data, device, force)
    with redirect_stdout(sys.stderr):
        registry, display = load_registry(), RichDisplay()
        display.say("loading the models…")
        scores = tuple(
            score_saliency(
                run,
                options,
                registry,
                cache=cache_folder(cache),
                threads=thread_count(threads),
                display=display,
            )
            for text in rows
            for run in find_row(text, runs)
        )
    show(SaliencyScores(scores), chosen_format(output_format, as_json))
