"""``cxrbench explain``: draw figures that explain the scores of images."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.localise import Device, IouThreshold, Method
from cxrbench.cli.options import (
    Cache,
    Format,
    Json,
    OutputFormat,
    Runs,
    RunSeed,
    Threads,
    chosen_format,
)


def explain(  # noqa: PLR0913 - each argument is an option of the command
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] IMAGE…",
            help="The directory of a complete run, or a recipe with only one run (not with "
            "--extractor); then image files, folders, tables of paths, or image ids of --data.",
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Explain this label; repeatable. \\[default: the labels with the highest scores]",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            min=1, help="Without --label: explain this many labels with the highest scores."
        ),
    ] = 3,
    method: Method = "auto",
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="FEATURES",
            help="Draw only the keypoints of these features, such as orb:nfeatures=1000+sift. "
            "Needs no run.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Cohort with the true labels and boxes of the images.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")] = Path(
        "explained"
    ),
    iou_threshold: IouThreshold = 0.5,
    device: Device = "auto",
    cache: Cache = None,
    threads: Threads = None,
    runs: Runs = Path("runs"),
    seed: RunSeed = None,
    output_format: OutputFormat = Format.table,
    as_json: Json = False,
) -> None:
    """Draw saliency maps, keypoints, visual words and boxes of images, as PNG files."""
    from cxrbench.inference.explain import ExplainOptions, draw_explanations, draw_extractors
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.runs.selection import find_run
    from cxrbench.settings import thread_count
    from cxrbench.store.cache import cache_folder

    options = ExplainOptions(
        labels=tuple(label or ()),
        top=top,
        method=method,
        data=data,
        output=output,
        iou_threshold=iou_threshold,
        device=device,
        cache=cache_folder(cache),
        threads=thread_count(threads),
    )
    display = RichDisplay()
    with redirect_stdout(sys.stderr):
        if extractor is not None:
            result = draw_extractors(extractor, inputs, options, display)
        else:
            run = find_run(inputs[0], runs, seed)
            result = draw_explanations(run.path, inputs[1:], options, display)
    show(result, chosen_format(output_format, as_json))
    if not result.succeeded:
        raise typer.Exit(1)
