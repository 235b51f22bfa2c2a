"""``cxrbench figures``: draw figures of saved runs."""

from __future__ import annotations

import json
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import BoardRows, Json, complete_labels, takes

FigureFormat = StrEnum("FigureFormat", ["png", "svg", "pdf", "eps", "both"])


class FigureKind(StrEnum):
    """Kinds of figures; all but the last are `cxrbench.boards.figures.KINDS`."""

    roc = "roc"
    precision_recall = "precision-recall"
    forest = "forest"
    pareto = "pareto"
    training = "training"
    confusion = "confusion"
    co_occurrence = "co-occurrence"
    reliability = "reliability"
    keypoints = "keypoints"


@takes(
    *("runs", "cache"),
    data="Folder or dataset with the images, for keypoints. [default: where the run found them]",
)
def figures(
    rows: BoardRows = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")
    ] = Path("figures"),
    output_format: Annotated[
        list[FigureFormat] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(FigureFormat),
            help="Format of the files; repeatable. both: png and svg. \\[default: both]",
        ),
    ] = None,
    dpi: Annotated[
        int, typer.Option(metavar="N", min=50, max=2400, help="Pixels per inch of PNG files.")
    ] = 300,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            autocompletion=complete_labels,
            help="Draw only this label; repeatable. \\[default: the labels that count in macro]",
        ),
    ] = None,
    only: Annotated[
        list[FigureKind] | None,
        typer.Option(
            metavar="KIND", help="Draw only this kind of figure; repeatable. \\[default: all]"
        ),
    ] = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Draw curves, confusion matrices, scores and costs of saved runs, as files.

    All rows must be on one leaderboard. Only the figures of keypoints need the images.
    """
    from cxrbench.boards.figures import KINDS, all_figures, figure_count
    from cxrbench.boards.figures.rows import choose_rows, label_columns, whole_board
    from cxrbench.inference.explain import KEYPOINT_IMAGES, extractors_of, keypoint_figures
    from cxrbench.output.display import new_display
    from cxrbench.output.figure_style import write_figure
    from cxrbench.request import request_of
    from cxrbench.runs.conditions import RunKind

    display, request = new_display(), request_of(options)
    selection = choose_rows(rows or (), request.runs, display)
    board = whole_board(selection, request.runs)
    label_columns(label or (), selection[0])  # a wrong name is refused before anything is drawn
    formats = {kind.value for kind in output_format or (FigureFormat.both,)}
    if FigureFormat.both in formats:
        formats = formats - {"both"} | {"png", "svg"}
    kinds = [kind.value for kind in only or FigureKind]
    of_runs = [kind for kind in KINDS if kind in kinds]
    features = extractors_of(selection) if FigureKind.keypoints in kinds else ()
    curves = all_figures(selection, board, only=of_runs, labels=label or (), display=display)
    firsts = [row[0] for row in selection]
    run = next((run for run in firsts if run.kind is not RunKind.submitted), firsts[0])
    keypoints = keypoint_figures(run, features, request.data, request.cache, display)
    count = figure_count(selection, of_runs) + (KEYPOINT_IMAGES if features else 0)
    files: list[str] = []
    with display.task("drawing", count) as advance:
        for name, figure in chain(curves, keypoints if features else ()):
            files += map(str, write_figure(figure, output, name, tuple(formats), dpi=dpi))
            advance(1, name)
    typer.echo(json.dumps({"files": files}, indent=2) if as_json else "\n".join(files))
