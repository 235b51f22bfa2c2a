"""What is a ratio of sums over images: decisions at a threshold, Brier score, calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrbench.evaluation.measures import BINS, CALIBRATION, THRESHOLDED


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
    sums = np.stack([np.bincount(owner, column, minlength=patients) for column in columns], axis=1)
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
