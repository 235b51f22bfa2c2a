"""``cxrbench explain``: draw figures that explain the scores of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.localise import IouThreshold, Method
from cxrbench.cli.options import (
    SEED_OF_RUN,
    AcceptUnknown,
    Format,
    complete_labels,
    complete_recipes,
    complete_runs,
    takes,
)


@takes(
    *("device", "cache", "threads", "runs"),
    data="Cohort with the true labels and boxes of the images.",
    seed=SEED_OF_RUN,
)
def explain(  # noqa: PLR0913 - each argument is an option of the command
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] IMAGE…",
            help="The directory of a complete run, or a recipe, which stands for all its seeds "
            "(not with --extractor); then image files, folders, tables of paths, or image ids of "
            "--data.",
            autocompletion=complete_runs,
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            autocompletion=complete_labels,
            help="Explain this label; repeatable. \\[default: the labels with the highest scores]",
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=10_000,
            help="Without --label: explain this many labels with the highest scores.",
        ),
    ] = 3,
    method: Method = "auto",
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="FEATURES",
            autocompletion=complete_recipes,
            help="Draw only the keypoints of these features, such as orb:nfeatures=1000+sift. "
            "Needs no run.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")
    ] = Path("explained"),
    iou_threshold: IouThreshold = 0.5,
    accept_unknown: AcceptUnknown = False,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Draw saliency maps, keypoints, visual words and boxes of images, as PNG files.

    For a recipe with several seeds, each seed gets its own figures.
    """
    from cxrbench.inference.explain import ExplainOptions, draw_explanations, draw_extractors
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.runs.selection import find_seeds

    request = request_of(options)
    explaining = ExplainOptions(
        labels=tuple(label or ()),
        top=top,
        method=method,
        data=request.data,
        output=output,
        iou_threshold=iou_threshold,
        device=request.device,
        cache=request.cache,
        threads=request.thread_count,
        accept_unknown=accept_unknown,
    )
    with progress() as display:
        if extractor is not None:
            result = draw_extractors(extractor, inputs, explaining, display)
        else:
            runs = find_seeds(inputs[0], request.runs, options.get("seed"))
            result = draw_explanations(runs, inputs[1:], explaining, display)
    show(result, output_format)
    if not result.succeeded:
        raise typer.Exit(1)
