"""Confusion matrices of one row by label, at the thresholds that were chosen on validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.evaluation.confusion import confusion_matrices
from cxrbench.evaluation.thresholds import apply_thresholds
from cxrbench.reporting.figures.rows import FigureRow, conditions, told_seeds
from cxrbench.reporting.figures.style import note, small_multiples, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 5


@styled()
def draw_confusion(row: FigureRow, columns: Sequence[int]) -> Figure:
    """Truth against decision for each label: images, and the share of those with that truth."""
    seeds = zip(row.y_score, row.thresholds, strict=True)
    found = [confusion_matrices(row.test.y_true, apply_thresholds(*seed)) for seed in seeds]
    counts = np.mean(found, axis=0)
    title = (
        f"Confusion matrices · {row.name}{told_seeds(row.runs, 'mean')}\n{conditions(row.runs)}\n"
        "images, and their share of those with that truth: upper left specificity, lower right "
        f"sensitivity{row.told_stars(columns)}"
    )
    figure, panels = small_multiples(
        title, len(columns), columns=_COLUMNS, panel_height=1.5, x="decision", y="truth"
    )
    for axes, column in zip(panels, columns, strict=True):
        cuts = row.thresholds[:, column]
        axes.set_title(row.panel_title(column) + _cut(cuts))
        if np.isnan(cuts).any():
            note(axes, "no threshold: validation images do not have both classes")
            continue
        _matrix(axes, counts[column])
        axes.set_xticks([0, 1], ["no", "yes"])
        axes.set_yticks([0, 1], ["no", "yes"], rotation=90, va="center")
    return figure


def _cut(cuts: np.ndarray) -> str:
    if np.isnan(cuts).any():
        return ""
    low, high = f"{cuts.min():.2g}", f"{cuts.max():.2g}"
    return f"\ncut {low}" if low == high else f"\ncut {low} to {high}"


def _matrix(axes: Axes, counts: np.ndarray) -> None:
    of = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, of, out=np.zeros_like(counts), where=of > 0)
    # Shades that black text stands on.
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.7)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    for truth in (0, 1):
        for decision in (0, 1):
            count, share = counts[truth, decision], shares[truth, decision]
            told = f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"
            told += f"\n{100 * share:.0f} %" if of[truth, 0] else ""
            axes.text(decision, truth, told, ha="center", va="center")
