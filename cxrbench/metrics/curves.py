"""ROC and precision-recall curves with bands, and confusion matrices."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cxrbench.metrics.resampling import Resampler

GRID = np.linspace(0.0, 1.0, 101)
"""Where curves are read: false positive rates of a ROC curve, recalls of a precision-recall one."""

CHUNK_BYTES = 8 * 2**20
"""Size of the largest temporary array: it sets how many replicates are counted at a time."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve over `GRID`, the mean of the seeds' curves, and the bounds of its pointwise band.

    ``value``, ``low`` and ``high`` (101,) float64; NaN where undefined.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class LabelCurves:
    """Sensitivity over the false positive rate, and precision over recall, of one label.

    ``prevalence`` is the share of positives among the known images: the precision of chance.
    """

    roc: Curve
    precision_recall: Curve
    positives: int
    known: int
    prevalence: float


def label_curves(
    y_true: np.ndarray,
    y_score: np.ndarray,
    patient: np.ndarray,
    resampler: Resampler,
    *,
    replicates: int = 500,
    level: float = 0.95,
) -> LabelCurves:
    """Both curves of one label by vertical averaging, with bands over patients and seeds.

    A ROC curve is read at fixed false positive rates, where it rises at its highest point; a
    precision-recall curve at fixed recalls, as a step whose area is the average precision. A band
    is the central ``level`` of what resamples of the patients give at that point, joined with the
    variance over seeds where there are several, and it always holds the curve itself. It is meant
    point by point, not for the curve as a whole.

    Parameters
    ----------
    y_true : (N,), 1 or 0; anything else (NaN) is unknown and left out.
    y_score : (S, N) finite, each seed's scores of the same images.
    patient : (N,) int, `PatientTable.index`.
    resampler : the board's, so that a replicate holds the patients that it holds in intervals.

    Returns
    -------
    LabelCurves : all NaN without both classes; bands are NaN where a replicate is undefined.

    References
    ----------
    Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006, section 8.1
    (vertical averaging).
    """
    known = (y_true == 1) | (y_true == 0)
    positive, patient = y_true[known] == 1, patient[known]
    count, total = int(positive.sum()), len(positive)
    rankings = [_Ranking(positive, score[known]) for score in y_score]
    values = np.stack([ranking.curves(np.ones((1, total)))[:, 0] for ranking in rankings], axis=1)
    drawn = np.full((2, replicates, len(GRID)), np.nan)
    if 0 < count < total:
        step = max(1, CHUNK_BYTES // (8 * total))
        for start in range(0, replicates, step):
            stop = min(start + step, replicates)
            weights = resampler.draw(start, stop)[0].T[:, patient]
            drawn[:, start:stop] = np.mean([one.curves(weights) for one in rankings], axis=0)
    roc, precision_recall = (
        _with_band(seeds, samples, level) for seeds, samples in zip(values, drawn, strict=True)
    )
    prevalence = count / total if total else float("nan")
    return LabelCurves(roc, precision_recall, count, total, prevalence)


class _Ranking:
    """The images of one label in falling order of one seed's scores."""

    def __init__(self, positive: np.ndarray, score: np.ndarray) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.positive = positive[self.order].astype(np.float64)
        # The last image of each distinct score: ties are called positive together.
        self.last = np.flatnonzero(np.append(np.diff(score[self.order]) != 0, len(score) > 0))

    def curves(self, weights: np.ndarray) -> np.ndarray:
        """ROC and precision-recall (2, B, G) of replicates that count images by (B, n)."""
        weights = weights[:, self.order]
        hits = np.cumsum(weights * self.positive, axis=1)[:, self.last]
        called = np.cumsum(weights, axis=1)[:, self.last]
        pairs = zip(hits, called, strict=True)
        return np.stack([_read(one, other) for one, other in pairs], axis=1)


def _read(hits: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Both curves (2, G) at `GRID`, from the true and all positives at each threshold (K,)."""
    positives = hits[-1] if len(hits) else 0.0
    alarms = called - hits
    negatives = alarms[-1] if len(hits) else 0.0
    if not positives or not negatives:
        return np.full((2, len(GRID)), np.nan)
    # Multiplied before it is divided, a rate that is a number of images comes out as that number,
    # and rounding never misses a vertical piece of the curve.
    places, last = np.arange(len(GRID)), len(GRID) - 1
    rates = places * negatives / last
    roc = np.interp(rates, np.append(0.0, alarms), np.append(0.0, hits)) / positives
    # Of recall 0 the limit from above is taken: the first threshold with a true positive.
    wanted = np.maximum(places * positives / last, 1e-9)
    at = np.searchsorted(hits, wanted, side="left")
    return np.stack([roc, hits[at] / called[at]])


def _with_band(seeds: np.ndarray, samples: np.ndarray, level: float) -> Curve:
    """The mean of the curves (S, G), and the percentiles of (B, G) joined with seeds' variance."""
    value = seeds.mean(axis=0)
    undefined = np.isnan(samples).any() or not len(samples)
    if undefined:
        return Curve(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    variance = seeds.var(axis=0, ddof=1) / len(seeds) if len(seeds) > 1 else np.zeros_like(value)
    other = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance)
    return Curve(
        value,
        np.clip(value - np.hypot(np.maximum(value - low, 0), other), 0, 1),
        np.clip(value + np.hypot(np.maximum(high - value, 0), other), 0, 1),
    )


def confusion_matrices(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Count the images of each label by truth and decision.

    Parameters
    ----------
    y_true, y_pred : (N, L), 1 or 0; images where either is NaN are left out, label by label.

    Returns
    -------
    (L, 2, 2) int: [label, truth, decision], as scikit-learn's ``multilabel_confusion_matrix``.
    """
    cells = [
        [((y_true == truth) & (y_pred == decision)).sum(axis=0) for decision in (0, 1)]
        for truth in (0, 1)
    ]
    return np.moveaxis(np.array(cells), 2, 0)


def co_occurrence(labels: np.ndarray) -> np.ndarray:
    """P(column | row): of the images with one label, the share that also has another.

    Parameters
    ----------
    labels : (N, L), 1 or 0; NaN is unknown, and its images are left out, pair by pair.

    Returns
    -------
    (L, L) float64; NaN in the row of a label that no image has.
    """
    positive = (labels == 1).astype(np.float64)
    known = ((labels == 1) | (labels == 0)).astype(np.float64)
    both, of = positive.T @ positive, positive.T @ known
    share = np.full(both.shape, np.nan)
    np.divide(both, of, out=share, where=of > 0)
    return share
