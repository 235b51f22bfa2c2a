"""ROC and precision-recall curves by label, with bands over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrbench.boards.figures.rows import FigureRow, conditions
from cxrbench.interfaces import Display
from cxrbench.metrics.curves import GRID, LabelCurves, label_curves
from cxrbench.metrics.patients import patient_table
from cxrbench.metrics.resampling import board_resampler
from cxrbench.output.figure_style import (
    look,
    note,
    outlined,
    small_multiples,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW_ROWS = 3
"""Rows besides the prior that have a band and a number; of more rows only the first has a band."""

_COLUMNS = 4


@dataclass(frozen=True, eq=False)
class RowCurves:
    """The curves of one row, by label in the order drawn."""

    row: FigureRow
    labels: tuple[LabelCurves, ...]


def row_curves(row: FigureRow, columns: Sequence[int], display: Display) -> RowCurves:
    """Compute the curves of a row with the resamples of its board."""
    test = row.test
    table = patient_table(test.y_true, test.patients)
    resampler = board_resampler(row.runs[0].conditions.board_key, table, test.counted)
    curves = []
    with display.task(f"curves of {row.name}", len(columns)) as advance:
        for column in columns:
            scores = row.y_score[:, :, column]
            curves.append(label_curves(test.y_true[:, column], scores, table.index, resampler))
            advance()
    return RowCurves(row, tuple(curves))


@styled()
def draw_roc(rows: Sequence[RowCurves], columns: Sequence[int]) -> Figure:
    """Sensitivity over the false positive rate, a panel for each label, all rows in each."""
    figure, panels = _panels(
        "ROC curves", ("1 − specificity", "sensitivity", "AUROC"), rows, columns
    )
    for place, axes in enumerate(panels):
        if not _defined(axes, rows, place):
            continue
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=0.6, zorder=0)
        for index, row in enumerate(rows):
            curve = row.labels[place].roc
            # A ROC curve begins in the corner, and may rise there at once.
            x = np.append(0.0, GRID)
            low, value, high = (np.append(0.0, y) for y in (curve.low, curve.value, curve.high))
            style = look(index, prior=row.row.is_prior)
            axes.plot(x, value, **style)
            if row in _with_band(rows):
                axes.fill_between(x, low, high, **_filled(style))
        _scores(axes, rows, columns[place], "auroc", lowest=0.03)
    return figure


@styled()
def draw_precision_recall(rows: Sequence[RowCurves], columns: Sequence[int]) -> Figure:
    """Precision over recall, a panel for each label, all rows and the prevalence in each."""
    figure, panels = _panels(
        "Precision-recall curves", ("recall", "precision", "average precision"), rows, columns
    )
    for place, axes in enumerate(panels):
        if not _defined(axes, rows, place):
            continue
        axes.axhline(rows[0].labels[place].prevalence, color="0.6", linewidth=0.6, zorder=0)
        for index, row in enumerate(rows):
            curve = row.labels[place].precision_recall
            style = look(index, prior=row.row.is_prior)
            axes.plot(GRID, curve.value, drawstyle="steps-pre", **style)
            if row in _with_band(rows):
                axes.fill_between(GRID, curve.low, curve.high, step="pre", **_filled(style))
        _scores(axes, rows, columns[place], "average_precision", lowest=None)
    return figure


def _panels(
    title: str, meaning: tuple[str, str, str], rows: Sequence[RowCurves], columns: Sequence[int]
) -> tuple[Figure, list[Axes]]:
    first, (x, y, number) = rows[0].row, meaning
    unit = "patients" if first.test.patients_known else "images"
    seeds = " and seeds" if any(len(row.row.runs) > 1 for row in rows) else ""
    bands = f"band: pointwise 95 % bootstrap interval over {unit}{seeds}"
    if _with_images(rows) == _with_band(rows):
        bands = f"numbers: {number}; {bands}"
    else:
        bands += f", of {_with_band(rows)[0].row.name}"
    bands += first.star_note(columns)
    figure, panels = small_multiples(
        f"{title}\n{conditions(first.runs)}\n{bands}",
        len(columns),
        columns=_COLUMNS,
        panel_height=1.85,
        x=x,
        y=y,
    )
    for axes, column, curves in zip(panels, columns, rows[0].labels, strict=True):
        name = first.panel_title(column)
        axes.set_title(f"{name}\n{curves.positives:,} of {curves.known:,}")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", adjustable="box")
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.set_xticklabels(["0", "0.5", "1"])
        axes.set_yticklabels(["0", "0.5", "1"])
    _legend(figure, rows)
    return figure, panels


def _with_images(rows: Sequence[RowCurves]) -> list[RowCurves]:
    return [row for row in rows if not row.row.is_prior]


def _with_band(rows: Sequence[RowCurves]) -> list[RowCurves]:
    seeing = _with_images(rows)
    return seeing if len(seeing) <= FEW_ROWS else seeing[:1]


def _legend(figure: Figure, rows: Sequence[RowCurves]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], label=row.row.name, **look(index, prior=row.row.is_prior))
        for index, row in enumerate(rows)
    ]
    # About 16 characters fit into an inch; a handle takes eight.
    longest = max(len(row.row.name) for row in rows) + 8
    columns = min(4, max(1, int(16 * figure.get_figwidth() / longest)))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, handlelength=3.5)


def _defined(axes: Axes, rows: Sequence[RowCurves], place: int) -> bool:
    curves = rows[0].labels[place]
    if 0 < curves.positives < curves.known:
        return True
    which = "without" if curves.positives == 0 else "with"
    note(axes, f"no curve: all test images with a known value are {which} this label")
    return False


def _filled(style: Mapping[str, Any]) -> dict[str, Any]:
    colour = style["color"]
    return {"facecolor": (colour, 0.13), "edgecolor": (colour, 0.5), "linewidth": 0.4}


def _scores(
    axes: Axes, rows: Sequence[RowCurves], column: int, measure: str, *, lowest: float | None
) -> None:
    """Each row's score in its colour, at the foot of a panel or at its head."""
    seeing = _with_images(rows)
    lines = [(i, row.row) for i, row in enumerate(rows) if row in seeing]
    if len(lines) > FEW_ROWS:
        return
    for line, (index, row) in enumerate(lines):
        value = row.label_mean(column, measure)
        y = 0.97 - 0.1 * line if lowest is None else lowest + 0.1 * (len(lines) - 1 - line)
        text = axes.text(
            *(0.98, y, "–" if value is None else f"{value:.2f}"),
            color=look(index)["color"],
            fontsize=6.5,
            ha="right",
            va="top" if lowest is None else "bottom",
            transform=axes.transAxes,
        )
        outlined(text)
