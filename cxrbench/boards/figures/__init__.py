"""Figures of saved runs: the kinds of figures, and all figures in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cxrbench.boards.board import Board
from cxrbench.boards.figures.confusion import draw_co_occurrence, draw_confusion, draw_reliability
from cxrbench.boards.figures.curves import draw_precision_recall, draw_roc, row_curves
from cxrbench.boards.figures.forest import draw_forest
from cxrbench.boards.figures.pareto import NOT_TIMED, draw_pareto
from cxrbench.boards.figures.rows import (
    FEW_PATIENTS,
    FigureRow,
    calibration_of,
    file_names,
    has_thresholds,
    label_columns,
    read_figure_row,
    row_names,
)
from cxrbench.boards.figures.training import draw_training, has_history
from cxrbench.interfaces import Display
from cxrbench.output.display import SilentDisplay
from cxrbench.output.figure_style import MOST_LOOKS, listed
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.selection import Seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_OF_CURVES = {"roc": draw_roc, "precision-recall": draw_precision_recall}
_OF_BOARDS = {"forest": draw_forest, "pareto": draw_pareto}
_OF_ROWS: dict[str, Callable[[FigureRow, Sequence[int]], Figure]] = {
    "training": lambda row, columns: draw_training(row.runs, row.name),
    "confusion": draw_confusion,
    "co-occurrence": draw_co_occurrence,
    "reliability": draw_reliability,
}

MOST_LABELS = 30
"""Labels in a figure, unless a user names them."""

MOST_ROWS = 100
"""Rows in a figure of a board, and rows with figures of their own."""

KINDS = (*_OF_CURVES, *_OF_BOARDS, *_OF_ROWS)
"""Every kind of figure, in the order drawn."""


def all_figures(
    rows: Sequence[Seeds],
    board: Board,
    *,
    only: Collection[str] = KINDS,
    labels: Sequence[str] = (),
    display: Display | None = None,
) -> Iterator[tuple[str, Figure]]:
    """Draw the figures of some rows of one board, one at a time.

    Parameters
    ----------
    rows : the seeds of each row, of `choose_rows`.
    board : the board that they are on, of `whole_board`, for ``forest`` and ``pareto``.
    only : some of `KINDS`.
    labels : those to draw; without any, the labels that count in macro, or all if none does.

    Yields
    ------
    A name for the file without an ending, unique among them, and a Matplotlib figure that no
    ``pyplot`` knows of.

    Raises
    ------
    RunError : a file of a run is missing, damaged or was changed after the run.
    SettingsError : the board has no such label.
    """
    display = display or SilentDisplay()
    columns = _drawn_columns(labels, rows[0], display)
    _warn(rows[0], display)
    names = row_names(rows)
    if len(board.rows) > MOST_ROWS:
        display.say(f"figures of the board show its first {MOST_ROWS} of {len(board.rows):,} rows")
        board = replace(board, rows=board.rows[:MOST_ROWS])
    kinds = [kind for kind in _OF_CURVES if kind in only]
    if kinds:
        yield from _curve_figures(rows, names, columns, kinds, display)
    for kind, draw in _OF_BOARDS.items():
        if kind in only:
            yield kind, draw(board)
    if "pareto" in only and all(row.latency_seconds is None for row in board.rows):
        display.say(NOT_TIMED)
    kinds = [kind for kind in _OF_ROWS if kind in only]
    if kinds and len(rows) > MOST_ROWS:
        display.say(
            f"figures of single rows are of the first {MOST_ROWS} of {len(rows):,} rows; "
            "name others as RUN"
        )
    named = list(zip(rows, names, file_names(names), strict=True))
    for row, name, file_name in named[:MOST_ROWS] if kinds else ():
        yield from _row_figures(read_figure_row(row, name), file_name, columns, kinds, display)


def figure_count(rows: Sequence[Seeds], only: Collection[str] = KINDS) -> int:
    """How many figures `all_figures` draws."""
    of_boards = sum(kind in only for kind in (*_OF_CURVES, *_OF_BOARDS))
    rows = rows[:MOST_ROWS]
    of_rows = sum(_lacking(kind, row) is None for kind in _OF_ROWS if kind in only for row in rows)
    calibrated = sum(calibration_of(row) != "none" for row in rows) if "reliability" in only else 0
    return of_boards + of_rows + calibrated


def _drawn_columns(labels: Sequence[str], row: Seeds, display: Display) -> tuple[int, ...]:
    """Places of the labels to draw; of very many, those with the most positive images."""
    columns = label_columns(labels, row)
    if labels or len(columns) <= MOST_LABELS:
        return columns
    display.say(
        f"figures show the {MOST_LABELS} of {len(columns)} labels with the most positive test "
        "images; choose others with --label"
    )
    positives = [label["positives"] for label in row[0].labels]
    often = sorted(columns, key=lambda column: -positives[column])[:MOST_LABELS]
    return tuple(sorted(often))


def _lacking(kind: str, row: Seeds) -> str | None:
    """Why a row has no figure of this kind; None where it has."""
    if kind == "training" and not has_history(row):
        if row[0].kind is not RunKind.trained:
            return "no training curves: the run was not trained by cxrbench"
        return "no training curves: a linear head is solved, not trained in epochs"
    if kind in ("confusion", "co-occurrence") and row[0].kind is RunKind.prior:
        return f"no {kind}: the prior has one score for all images"
    if kind in ("confusion", "co-occurrence") and not has_thresholds(row):
        return f"no {kind}: the run has no thresholds"
    return None


def _curve_figures(
    rows: Sequence[Seeds],
    names: Sequence[str],
    columns: Sequence[int],
    kinds: Sequence[str],
    display: Display,
) -> Iterator[tuple[str, Figure]]:
    if len(rows) > MOST_LOOKS:
        display.say(
            f"curves show the first {MOST_LOOKS} of {len(rows)} rows; left out: "
            f"{listed(names[MOST_LOOKS:])}"
        )
    pairs = list(zip(rows, names, strict=True))[:MOST_LOOKS]
    curves = [row_curves(read_figure_row(row, name), columns, display) for row, name in pairs]
    for kind in kinds:
        yield kind, _OF_CURVES[kind](curves, columns)


def _row_figures(
    row: FigureRow,
    file_name: str,
    columns: Sequence[int],
    kinds: Sequence[str],
    display: Display,
) -> Iterator[tuple[str, Figure]]:
    for kind in kinds:
        reason = _lacking(kind, row.runs)
        if reason is not None:
            display.say(f"{row.name}: {reason}")
        else:
            yield f"{kind}-{file_name}", _OF_ROWS[kind](row, columns)
        if kind == "reliability" and row.calibration != "none":
            figure = draw_reliability(row, columns, calibrated=True)
            yield f"reliability-calibrated-{file_name}", figure


def _warn(row: Seeds, display: Display) -> None:
    patients = row[0].test_patients
    if patients is not None and patients < FEW_PATIENTS:
        display.say(
            f"only {patients} test patients: bands and intervals are wide, or undefined for labels "
            "with few patients"
        )
    if not row[0].conditions.labels_counted:
        display.say("no label counts in macro: all labels are drawn")
