"""Confusion matrices, co-occurrence of labels, and reliability diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.boards.figures.rows import FigureRow, conditions, seeds_text
from cxrbench.metrics.calibration import Reliability, reliability
from cxrbench.metrics.curves import co_occurrence, confusion_matrices
from cxrbench.metrics.measures import BINS
from cxrbench.metrics.thresholds import apply_thresholds
from cxrbench.output.figure_style import (
    BLUE,
    new_figure,
    note,
    small_multiples,
    spelt,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


_COLUMNS = 5


@styled()
def draw_confusion(row: FigureRow, columns: Sequence[int]) -> Figure:
    """Truth against decision for each label: images, and the share of those with that truth."""
    seeds = zip(row.y_score, row.thresholds, strict=True)
    matrices = [confusion_matrices(row.test.y_true, apply_thresholds(*seed)) for seed in seeds]
    counts = np.mean(matrices, axis=0)
    title = (
        f"Confusion matrices · {row.name}{seeds_text(row.runs, 'mean')}\n{conditions(row.runs)}\n"
        "number of images, and their share of the images with the same truth (upper left: "
        f"specificity, lower right: sensitivity){row.star_note(columns)}"
    )
    figure, panels = small_multiples(
        title, len(columns), columns=_COLUMNS, panel_height=1.5, x="decision", y="truth"
    )
    for axes, column in zip(panels, columns, strict=True):
        thresholds = row.thresholds[:, column]
        axes.set_title(row.panel_title(column) + _threshold_text(thresholds))
        if np.isnan(thresholds).any():
            note(axes, "no threshold: the validation images lack a class")
            continue
        _matrix(axes, counts[column])
        axes.set_xticks([0, 1], ["no", "yes"])
        axes.set_yticks([0, 1], ["no", "yes"], rotation=90, va="center")
    return figure


def _threshold_text(thresholds: np.ndarray) -> str:
    if np.isnan(thresholds).any():
        return ""
    low, high = f"{thresholds.min():.2g}", f"{thresholds.max():.2g}"
    return f"\nthreshold {low}" if low == high else f"\nthreshold {low} to {high}"


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
            text = f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"
            text += f"\n{100 * share:.0f} %" if of[truth, 0] else ""
            axes.text(decision, truth, text, ha="center", va="center")


@styled()
def draw_co_occurrence(row: FigureRow, columns: Sequence[int]) -> Figure:
    """P(column | row) in per cent, truth beside decisions, on one scale of colours."""
    places = list(columns)
    truth = row.test.y_true[:, places]
    seeds = zip(row.y_score, row.thresholds, strict=True)
    decided = [apply_thresholds(*seed)[:, places] for seed in seeds]
    names = [spelt(row.test.label_names[column]) for column in places]
    title = (
        f"Co-occurrence of labels · {row.name}{seeds_text(row.runs, 'decisions: mean')}\n"
        f"{conditions(row.runs)}\n"
        "percentage of the images with the row's label that also have the column's label (in "
        "brackets: number of images)"
    )
    figure = new_figure(title, width=11.2, height=2.0 + 0.27 * len(places))
    left, right = figure.subplots(1, 2)
    _shares_matrix(left, "truth", names, [truth])
    image = _shares_matrix(right, "decisions at the thresholds", names, decided)
    bar = figure.colorbar(image, ax=[left, right], shrink=0.7, pad=0.01, aspect=30)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25 %", "50 %", "75 %", "100 %"])
    return figure


def _shares_matrix(
    axes: Axes, title: str, names: Sequence[str], seeds: Sequence[np.ndarray]
) -> AxesImage:
    # A seed that never decides for a label leaves the label's row undefined, as in every mean.
    shares = np.mean([co_occurrence(labels) for labels in seeds], axis=0)
    counts = np.mean([(labels == 1).sum(axis=0) for labels in seeds], axis=0)
    np.fill_diagonal(shares, np.nan)
    image = axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_facecolor("0.92")
    axes.set_title(title)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    texts = [f"{name} ({count:,.0f})" for name, count in zip(names, counts, strict=True)]
    axes.set_yticks(places, texts)
    axes.tick_params(length=0)
    for (line, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            colour = "white" if share > 0.7 else "black"
            axes.text(
                column, line, f"{100 * share:.0f}", ha="center", va="center", color=colour, size=6.5
            )
    return image


_RELIABILITY_COLUMNS = 4

# Of fewer images than this, the share in a bin says next to nothing.
_LEAST_IN_BIN = 20

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
    bins = max(2, min(BINS, len(row.test.y_true) // _LEAST_IN_BIN))
    unit = "patients" if row.test.patients_known else "images"
    head = (
        f"{title} · {row.name}{seeds_text(row.runs, 'scores')}\n{conditions(row.runs)}\n"
        f"{bins} bins of equally many scores; bars: 95 % interval (Wilson, over the bin's {unit}); "
        f"grey: histogram of the scores; diagonal: perfect{row.star_note(columns)}"
    )
    figure, panels = small_multiples(
        head,
        len(columns),
        columns=_RELIABILITY_COLUMNS,
        panel_height=1.95,
        x="mean score",
        y="share of positives",
    )
    for axes, column in zip(panels, columns, strict=True):
        values = [(name, row.label_mean(column, key)) for name, key in measures.items()]
        text = "\n".join(f"{name} {value:.3f}" for name, value in values if value is not None)
        axes.set_title(f"{row.panel_title(column)}\n{text}".rstrip())
        pooled = scores[:, :, column].ravel()
        truth = np.tile(row.test.y_true[:, column], seeds)
        diagram = reliability(truth, pooled, np.tile(row.test.patients, seeds), bins=bins)
        if not len(diagram.predicted):
            note(axes, "no diagram: this label is unknown for all test images")
            continue
        _diagram(axes, diagram, pooled[~np.isnan(truth)])
    return figure


def _diagram(axes: Axes, diagram: Reliability, scores: np.ndarray) -> None:
    # Few scores of a rare label are far from 0: the panel ends behind the last bin and score.
    last = max(diagram.predicted.max(), float(np.quantile(scores, 0.99)))
    right, top = (min(1.0, max(0.01, 1.05 * end)) for end in (last, diagram.high.max()))
    axes.set(xlim=(-0.03 * right, 1.03 * right), ylim=(-0.03 * top, 1.03 * top))
    axes.set_box_aspect(1)
    axes.locator_params(nbins=3)
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.6, zorder=0)
    heights, edges = np.histogram(scores, bins=30, range=(0, right))
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
