"""Confusion matrices, and how often labels occur together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.boards.figures.rows import FigureRow, conditions, told_seeds
from cxrbench.metrics.curves import co_occurrence, confusion_matrices
from cxrbench.metrics.thresholds import apply_thresholds
from cxrbench.output.figure_style import new_figure, note, small_multiples, spelt, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


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
    _shares_matrix(left, "truth", names, [truth])
    shown = _shares_matrix(right, "decisions at the thresholds", names, decided)
    bar = figure.colorbar(shown, ax=[left, right], shrink=0.7, pad=0.01, aspect=30)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25 %", "50 %", "75 %", "100 %"])
    return figure


def _shares_matrix(
    axes: Axes, title: str, names: Sequence[str], seeds: Sequence[np.ndarray]
) -> AxesImage:
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
