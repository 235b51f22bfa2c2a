"""``cxrbench figures``: draw figures of saved runs."""

from __future__ import annotations

import json
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import BoardRows, Cache, Runs


class FigureFormat(StrEnum):
    """Formats of the files."""

    png = "png"
    svg = "svg"
    both = "both"


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


def figures(  # noqa: PLR0913 - each argument is an option of the command
    rows: BoardRows = None,
    runs: Runs = Path("runs"),
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")] = Path("figures"),
    output_format: Annotated[
        FigureFormat,
        typer.Option("--format", metavar="|".join(FigureFormat), help="Format of the files."),
    ] = FigureFormat.both,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Draw only this label; repeatable. \\[default: the labels that count in macro]",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[FigureKind] | None,
        typer.Option(
            metavar="KIND",
            help="Draw only this kind of figure; repeatable. \\[default: all]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Where the images for keypoints are. \\[default: where the run found them]",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print file names as JSON.")] = False,
) -> None:
    """Draw curves, confusion matrices, scores and costs of saved runs, as PNG and SVG files.

    All rows must be on one leaderboard. Only the figures of keypoints need the images.
    """
    from cxrbench.boards.figures import KINDS, all_figures, figure_count
    from cxrbench.boards.figures.rows import choose_rows, whole_board
    from cxrbench.inference.explain import KEYPOINT_IMAGES, extractors_of, keypoint_figures
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.figure_style import write_figure
    from cxrbench.runs.conditions import RunKind
    from cxrbench.store.cache import cache_folder

    display = RichDisplay()
    chosen = choose_rows(rows or (), runs)
    board = whole_board(chosen, runs)
    formats = ("png", "svg") if output_format == FigureFormat.both else (output_format.value,)
    kinds = [kind.value for kind in only or FigureKind]
    of_runs = [kind for kind in KINDS if kind in kinds]
    features = extractors_of(chosen) if FigureKind.keypoints in kinds else ()
    made = all_figures(chosen, board, only=of_runs, labels=label or (), display=display)
    run = next((row[0] for row in chosen if row[0].kind is not RunKind.submitted), chosen[0][0])
    keypoints = keypoint_figures(run, features, data, cache_folder(cache), display)
    count = figure_count(chosen, of_runs) + (KEYPOINT_IMAGES if features else 0)
    files: list[str] = []
    with display.task("drawing", count) as advance:
        for name, figure in chain(made, keypoints if features else ()):
            files += map(str, write_figure(figure, output, name, formats))
            advance(1, name)
    typer.echo(json.dumps({"files": files}, indent=2) if as_json else "\n".join(files))
