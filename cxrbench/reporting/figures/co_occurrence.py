"""Which labels go together, in the truth and in the decisions of one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.evaluation.confusion import co_occurrence
from cxrbench.evaluation.thresholds import apply_thresholds
from cxrbench.reporting.figures.rows import FigureRow, conditions, told_seeds
from cxrbench.reporting.figures.style import new_figure, spelt, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


@styled()
def draw_co_occurrence(row: FigureRow, columns: Sequence[int]) -> Figure:
    """P(column | row) in per cent, truth beside decisions, on one scale of colours."""
    chosen = list(columns)
    truth = row.test.y_true[:, chosen]
    seeds = zip(row.y_score, row.thresholds, strict=True)
    decided = [apply_thresholds(*seed)[:, chosen] for seed in seeds]
    names = [spelt(row.test.label_names[column]) for column in chosen]
    title = (
        f"Labels that go together · {row.name}{told_seeds(row.runs, 'decisions: mean')}\n"
        f"{conditions(row.runs)}\n"
        "per cent of the images with the label of the line that have that of the column too "
        "(in brackets: images)"
    )
    figure = new_figure(title, width=11.2, height=2.0 + 0.27 * len(chosen))
    left, right = figure.subplots(1, 2)
    _matrix(left, "truth", names, [truth])
    shown = _matrix(right, "decisions at the thresholds", names, decided)
    bar = figure.colorbar(shown, ax=[left, right], shrink=0.7, pad=0.01, aspect=30)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25 %", "50 %", "75 %", "100 %"])
    return figure


def _matrix(axes: Axes, title: str, names: Sequence[str], seeds: Sequence[np.ndarray]) -> AxesImage:
    # A seed that never decides for a label leaves the label's row undefined, as in every mean.
    shares = np.mean([co_occurrence(labels) for labels in seeds], axis=0)
    counts = np.mean([(labels == 1).sum(axis=0) for labels in seeds], axis=0)
    np.fill_diagonal(shares, np.nan)
    shown = axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_facecolor("0.92")
    axes.set_title(title)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    told = [f"{name} ({count:,.0f})" for name, count in zip(names, counts, strict=True)]
    axes.set_yticks(places, told)
    axes.tick_params(length=0)
    for (line, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            colour = "white" if share > 0.7 else "black"
            axes.text(
                column, line, f"{100 * share:.0f}", ha="center", va="center", color=colour, size=6.5
            )
    return shown
