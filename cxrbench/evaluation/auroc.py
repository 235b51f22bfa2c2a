"""Ranking metrics: AUROC and average precision, exact under ties, unknown labels left out."""

from __future__ import annotations

import numpy as np

from cxrbench.errors import DataError


def check_scores(y_true: np.ndarray, y_score: np.ndarray) -> None:
    """Raise `DataError` unless both are (N, L) and every score is a finite number."""
    if y_true.ndim != 2 or y_true.shape != y_score.shape:
        raise DataError(
            "The scores do not fit the labels.",
            expected=f"y_score of the same shape (N, L) as y_true, {y_true.shape}",
            found=f"{y_score.shape}",
            fix="give one score for each image and label, in the order of y_true",
        )
    bad = int(np.count_nonzero(~np.isfinite(y_score)))
    if bad:
        raise DataError(
            "Some scores are not numbers.",
            expected="a finite y_score for every image and label",
            found=f"{bad} of {y_score.size} are NaN or infinite",
            fix="if a model made them its training diverged: lower the learning rate",
        )


def auroc(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, a tie half.

    Parameters
    ----------
    y_true : (n,), 1 or 0; anything else (NaN) is unknown and left out.
    y_score : (n,) finite, float32 or float64, any monotone scale.

    Returns
    -------
    float in [0, 1]; NaN without both classes. Pairs are counted in integers, so the order of the
    images cannot change the result and constant scores give exactly 0.5.

    References
    ----------
    Hanley & McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982.
    """
    # Sorted queries walk through the negatives in order, which keeps the search in cache.
    positives = np.sort(y_score[y_true == 1])
    negatives = np.sort(y_score[y_true == 0])
    if not len(positives) or not len(negatives):
        return float("nan")
    below = int(np.searchsorted(negatives, positives, side="left").sum())
    up_to = int(np.searchsorted(negatives, positives, side="right").sum())
    return (below + up_to) / (2 * len(positives) * len(negatives))


def average_precision(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """Average precision: the mean precision at each distinct score, weighted by recall gained.

    Parameters and the treatment of unknown labels are those of `auroc`. The sum is not
    interpolated, as in scikit-learn. NaN without a positive; 1 with positives alone.
    """
    positives = np.sort(y_score[y_true == 1])
    negatives = np.sort(y_score[y_true == 0])
    if not len(positives):
        return float("nan")
    cuts, gained = np.unique(positives, return_counts=True)
    true_positives = len(positives) - np.searchsorted(positives, cuts, side="left")
    false_positives = len(negatives) - np.searchsorted(negatives, cuts, side="left")
    precision = true_positives / (true_positives + false_positives)
    return float(np.sum(gained * precision) / len(positives))


def label_auroc(y_true: np.ndarray, y_score: np.ndarray) -> np.ndarray:
    """`auroc` of every column: (N, L) and (N, L) to (L,) float64, NaN where undefined."""
    columns = zip(y_true.T, y_score.T, strict=True)
    return np.array([auroc(truth, score) for truth, score in columns], dtype=np.float64)


def label_average_precision(y_true: np.ndarray, y_score: np.ndarray) -> np.ndarray:
    """`average_precision` of every column: (L,) float64, NaN where undefined."""
    columns = zip(y_true.T, y_score.T, strict=True)
    return np.array([average_precision(truth, score) for truth, score in columns], np.float64)


def mean_defined(values: np.ndarray) -> float:
    """Unweighted mean of the entries that are not NaN; NaN when there are none."""
    defined = values[~np.isnan(values)]
    return float(np.mean(defined)) if len(defined) else float("nan")
