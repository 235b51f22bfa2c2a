"""From probabilities to decisions: one threshold per label, chosen on the validation split."""

from __future__ import annotations

import numpy as np

from cxrbench.evaluation.auroc import check_scores


def choose_thresholds(y_true: np.ndarray, y_score: np.ndarray) -> np.ndarray:
    """The threshold of each label with the highest Youden's J (sensitivity + specificity - 1).

    Candidates are the scores that occur; a score at or above the threshold is positive. Of equally
    good ones the highest is taken, which predicts the fewest positives. With constant scores
    it is the constant, so that every image is positive: J is 0 at any threshold.

    Parameters
    ----------
    y_true, y_score : (N, L) of the validation split; NaN in ``y_true`` is unknown and left out.

    Returns
    -------
    (L,) float64, NaN where the split has only one class of the label.

    References
    ----------
    Youden, Index for rating diagnostic tests, Cancer 3, 1950.
    """
    check_scores(y_true, y_score)
    columns = zip(y_true.T, y_score.T, strict=True)
    return np.array([_youden(truth, score) for truth, score in columns], dtype=np.float64)


def _youden(y_true: np.ndarray, y_score: np.ndarray) -> float:
    positives = np.sort(y_score[y_true == 1])
    negatives = np.sort(y_score[y_true == 0])
    if not len(positives) or not len(negatives):
        return float("nan")
    candidates = np.unique(positives)[::-1]  # J falls at a score that only negatives have
    true = len(positives) - np.searchsorted(positives, candidates, side="left")
    false = len(negatives) - np.searchsorted(negatives, candidates, side="left")
    # J times both class sizes, in integers: equal J compare as equal.
    return float(candidates[np.argmax(true * len(negatives) - false * len(positives))])


def apply_thresholds(y_score: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """``y_pred`` (N, L) float32: 1 where the score reaches the threshold (L,), else 0.

    NaN in the whole column of a label whose threshold is NaN.
    """
    y_pred = (y_score >= thresholds).astype(np.float32)
    y_pred[:, np.isnan(thresholds)] = np.nan
    return y_pred
