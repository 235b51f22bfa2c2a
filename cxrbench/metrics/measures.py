"""The measures of one label as functions of patient weights: those of order, and those of sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

RANKING = ("auroc", "average_precision", "sensitivity_at_90", "sensitivity_at_95")
"""Of the order of the scores alone; the last two: at 90 and 95 % specificity."""

THRESHOLDED = ("accuracy", "precision", "recall", "specificity", "f1")
"""Of the decisions at each label's threshold. Recall is the sensitivity."""

CALIBRATION = ("brier", "ece")
"""Of the probabilities as such: mean squared and expected calibration error; lower is better."""

MEASURES = (*RANKING, *THRESHOLDED, *CALIBRATION)

LOWER_IS_BETTER = frozenset(CALIBRATION)

SPECIFICITIES = (0.90, 0.95)
"""Those at which `RANKING` tells the sensitivity."""

BINS = 10
"""Of the expected calibration error and of reliability diagrams: equally many images in each."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """Three sparse matrices (rows, P) over patients; row k is the k-th score of a positive.

    ``positives`` counts each patient's positive images with that score; ``up_to`` the negatives
    that the row adds to those with this score or a lower one, ``below`` those that it adds to the
    ones with a lower score. One last row takes the negatives above all positives.
    """

    positives: Any
    below: Any
    up_to: Any

    measures = RANKING

    @property
    def rows(self) -> int:
        """How long the arrays are that `scores` makes for each column of weights."""
        return int(self.below.shape[0])

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """`RANKING` (4, B), the images of each patient counted by ``weights`` (P, B).

        The sensitivity at a specificity is the highest of all thresholds that reach it, without
        interpolation. NaN where a class is missing.
        """
        positives = self.positives @ weights
        below = np.cumsum(self.below @ weights, axis=0)
        up_to = np.cumsum(self.up_to @ weights, axis=0)
        count, negatives = positives.sum(axis=0), below[-1]
        # Mann and Whitney's ranks, doubled: a tie is a half. Sums of integers far below 2**53 are
        # exact, so the order of the images cannot matter.
        won = np.einsum("kb,kb->b", positives, below[:-1] + up_to[:-1])
        hits = np.cumsum(positives[::-1], axis=0)[::-1]
        called = hits + negatives - below[:-1]
        # Where nothing is called positive nothing is gained either.
        gained = np.einsum("kb,kb->b", positives, hits / np.maximum(called, 1.0))
        both = (count > 0) & (negatives > 0)
        return np.stack(
            [
                _share(won, 2 * count * negatives),
                _share(gained, count),
                *(
                    np.where(both, _share(_hits_at(level, hits, below), count), np.nan)
                    for level in SPECIFICITIES
                ),
            ]
        )


def _hits_at(specificity: float, hits: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The most positives (B,) that a threshold with this specificity finds."""
    # Shares such as 0.9 are no binary fractions: without the slack 9 of 10 would not be 90 %.
    needed = specificity * below[-1] * (1 - 1e-12)
    # Thresholds that reach it come last: `below` only grows.
    first = np.count_nonzero(below[:-1] < needed, axis=0)
    padded = np.concatenate([hits, np.zeros((1, hits.shape[1]))])
    found: np.ndarray = padded[first, np.arange(hits.shape[1])]
    return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def ranked(y_true: np.ndarray, y_score: np.ndarray, patient: np.ndarray, patients: int) -> Ranked:
    """Sort the images of one label, all (n,); entries of ``y_true`` but 1 and 0 are left out.

    ``patient`` are places from 0 to ``patients`` - 1.
    """
    positive, negative = y_true == 1, y_true == 0
    cuts, row = np.unique(y_score[positive], return_inverse=True)
    other = y_score[negative]
    up_to, below = (
        _count_matrix(
            np.searchsorted(cuts, other, side), patient[negative], len(cuts) + 1, patients
        )
        for side in ("left", "right")
    )
    return Ranked(
        positives=_count_matrix(row, patient[positive], len(cuts), patients),
        below=below,
        up_to=up_to,
    )


def _count_matrix(row: np.ndarray, patient: np.ndarray, rows: int, patients: int) -> Any:
    from scipy.sparse import csr_array

    # float64 and not a narrower type: with constant scores one entry counts many images.
    return csr_array((np.ones(len(row)), (row, patient)), shape=(rows, patients))


@dataclass(frozen=True, eq=False)
class Summed:
    """Each patient's sums (P, K) for one label.

    The columns: true and false positives, false and true negatives, squared error, images, and for
    each bin of the scores what its probabilities exceed its positives by. Counts of decisions are
    NaN without a threshold.
    """

    sums: np.ndarray

    measures = (*THRESHOLDED, *CALIBRATION)

    @property
    def rows(self) -> int:
        """How long the arrays are that `scores` makes for each column of weights."""
        return self.sums.shape[1]

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """`THRESHOLDED` and `CALIBRATION` (7, B), each patient's images counted by (P, B)."""
        tp, fp, fn, tn, squared, images, *excess = self.sums.T @ weights
        return np.stack(
            [
                _ratio(tp + tn, tp + fp + fn + tn),
                _ratio(tp, tp + fp),
                _ratio(tp, tp + fn),
                _ratio(tn, tn + fp),
                _ratio(2 * tp, 2 * tp + fp + fn),
                _ratio(squared, images),
                _ratio(np.abs(excess).sum(axis=0), images),
            ]
        )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def summed(
    y_true: np.ndarray,
    probability: np.ndarray,
    y_pred: np.ndarray,
    patient: np.ndarray,
    patients: int,
) -> Summed:
    """Sum the images of one label by patient, all (n,); ``y_true`` but 1 and 0 is left out.

    ``y_pred`` is 1 or 0, NaN where there is no threshold; an entry without one is in no count of
    decisions, unless all are without: then those counts are NaN.
    """
    known = (y_true == 1) | (y_true == 0)
    truth, probability = y_true[known].astype(np.float64), probability[known].astype(np.float64)
    decided = y_pred[known]
    owner = patient[known]
    excess = probability - truth
    counts = [
        (decided == pred) & (truth == value) for pred, value in ((1, 1), (1, 0), (0, 1), (0, 0))
    ]
    columns = [*counts, excess**2, np.ones(len(truth))]
    bins = quantile_bins(probability)
    columns += [np.where(bins == number, excess, 0.0) for number in range(BINS)]
    sums = np.zeros((patients, len(columns)))
    for place, column in enumerate(columns):  # np.bincount of nothing is an array of integers
        sums[:, place] = np.bincount(owner, column, minlength=patients)
    if not np.isfinite(decided).any():
        sums[:, :4] = np.nan
    return Summed(sums)


def quantile_bins(probability: np.ndarray) -> np.ndarray:
    """Which of `BINS` bins (n,) each probability is in; ties are together, some may be empty.

    Equally many images in each, as `sklearn.calibration.calibration_curve` has them with
    ``strategy="quantile"``. Bins of equal width would put nearly all images of a rare finding into
    the first.

    References
    ----------
    Nixon et al., Measuring calibration in deep learning, CVPR workshops 2019 (adaptive bins).
    """
    if not len(probability):
        return np.zeros(0, np.intp)
    inner = np.quantile(probability, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(inner, probability)
