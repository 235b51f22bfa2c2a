"""Reliability diagrams by label: predicted probabilities against observed shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.boards.figures.rows import FigureRow, conditions, seeds_text
from cxrbench.metrics.calibration import Reliability, reliability
from cxrbench.metrics.measures import BINS
from cxrbench.output.figure_style import (
    BLUE,
    note,
    small_multiples,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4

_MEASURES = {"Brier": "brier", "ECE": "ece"}


@styled()
def draw_reliability(row: FigureRow, columns: Sequence[int], *, calibrated: bool = False) -> Figure:
    """Share of positives over mean score in bins of equally many scores, with a histogram.

    ``calibrated`` draws what the row's calibration makes of its scores. Seeds are pooled: the
    diagram is that of a seed picked at random.
    """
    scores = row.calibrated_scores() if calibrated else row.y_score
    title = f"Reliability after {row.calibration} calibration" if calibrated else "Reliability"
    # Brier score and calibration error were computed of calibrated scores where there are such.
    measures = _MEASURES if calibrated or row.calibration == "none" else {}
    seeds = len(scores)
    unit = "patients" if row.test.patients_known else "images"
    head = (
        f"{title} · {row.name}{seeds_text(row.runs, 'scores')}\n{conditions(row.runs)}\n"
        f"{BINS} bins of equally many scores; bars: 95 % interval (Wilson, over the bin's {unit}); "
        f"grey: histogram of the scores{row.star_note(columns)}"
    )
    figure, panels = small_multiples(
        head,
        len(columns),
        columns=_COLUMNS,
        panel_height=1.75,
        x="mean score",
        y="share of positives",
    )
    for axes, column in zip(panels, columns, strict=True):
        values = [(name, row.label_mean(column, key)) for name, key in measures.items()]
        text = " · ".join(f"{name} {value:.3f}" for name, value in values if value is not None)
        axes.set_title(f"{row.panel_title(column)}\n{text}".rstrip())
        pooled = scores[:, :, column].ravel()
        truth = np.tile(row.test.y_true[:, column], seeds)
        diagram = reliability(truth, pooled, np.tile(row.test.patients, seeds), bins=BINS)
        if not len(diagram.predicted):
            note(axes, "no diagram: this label is unknown for all test images")
            continue
        _diagram(axes, diagram, pooled[~np.isnan(truth)])
    return figure


def _diagram(axes: Axes, diagram: Reliability, scores: np.ndarray) -> None:
    # Few scores of a rare label are far from 0: the panel ends behind the last bin.
    top = min(1.0, 1.05 * max(diagram.predicted.max(), diagram.high.max()))
    limits = (-0.03 * top, 1.03 * top)
    axes.set(xlim=limits, ylim=limits, aspect="equal", adjustable="box")
    axes.locator_params(nbins=4)
    axes.plot([0, top], [0, top], color="0.75", linewidth=0.6, zorder=0)
    heights, edges = np.histogram(scores, bins=30, range=(0, top))
    axes.stairs(heights / heights.max() * 0.22 * top, edges, fill=True, color="0.8", zorder=-1)
    off = np.abs(np.stack([diagram.low, diagram.high]) - diagram.observed)
    axes.errorbar(
        diagram.predicted,
        diagram.observed,
        yerr=off,
        color=BLUE,
        marker="o",
        markersize=2.5,
        linewidth=0.9,
        elinewidth=0.7,
    )
