"""Reliability diagrams by label: how often what was given a probability turned out to be so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.boards.figures.rows import FigureRow, conditions, told_seeds
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
        f"{title} · {row.name}{told_seeds(row.runs, 'scores')}\n{conditions(row.runs)}\n"
        f"{BINS} bins of equally many scores; bars: 95 % (Wilson, over a bin's {unit}); "
        f"grey: histogram of the scores{row.told_stars(columns)}"
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
        told = " · ".join(f"{name} {value:.3f}" for name, value in values if value is not None)
        axes.set_title(f"{row.panel_title(column)}\n{told}".rstrip())
        pooled = scores[:, :, column].ravel()
        truth = np.tile(row.test.y_true[:, column], seeds)
        found = reliability(truth, pooled, np.tile(row.test.patients, seeds), bins=BINS)
        if not len(found.predicted):
            note(axes, "no diagram: this label is known of no test image")
            continue
        _diagram(axes, found, pooled[~np.isnan(truth)])
    return figure


def _diagram(axes: Axes, found: Reliability, scores: np.ndarray) -> None:
    # Few scores of a rare label are far from 0: the panel ends behind the last bin.
    top = min(1.0, 1.05 * max(found.predicted.max(), found.high.max()))
    limits = (-0.03 * top, 1.03 * top)
    axes.set(xlim=limits, ylim=limits, aspect="equal", adjustable="box")
    axes.locator_params(nbins=4)
    axes.plot([0, top], [0, top], color="0.75", linewidth=0.6, zorder=0)
    heights, edges = np.histogram(scores, bins=30, range=(0, top))
    axes.stairs(heights / heights.max() * 0.22 * top, edges, fill=True, color="0.8", zorder=-1)
    off = np.abs(np.stack([found.low, found.high]) - found.observed)
    axes.errorbar(
        found.predicted,
        found.observed,
        yerr=off,
        color=BLUE,
        marker="o",
        markersize=2.5,
        linewidth=0.9,
        elinewidth=0.7,
    )
