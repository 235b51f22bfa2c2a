"""AUROCs of several scores on the same images, with their covariance in closed form, by patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Aurocs:
    """``values`` (K,) of K scores on the same images, and their ``covariance`` (K, K).

    Both are NaN where a class is missing; the covariance also where only one patient has it.
    """

    values: np.ndarray
    covariance: np.ndarray


def clustered_aurocs(y_true: np.ndarray, y_score: np.ndarray, patients: np.ndarray) -> Aurocs:
    """AUROCs of one label and how they vary with the patients, without resampling.

    Parameters
    ----------
    y_true : (n,), 1 or 0; anything else (NaN) is unknown and left out.
    y_score : (K, n) finite; K rows, seeds or models, of the same images.
    patients : (n,) int or str, the patient of each image. With one image for each patient the
        result is DeLong's.

    References
    ----------
    Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53, 1997 (equations
    for the sums of squares over clusters, and their cross products for correlated curves). DeLong,
    DeLong & Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
    characteristic curves, Biometrics 44, 1988.
    """
    known = (y_true == 1) | (y_true == 0)
    y_true, y_score, patients = y_true[known], y_score[:, known], patients[known]
    positive, negative = y_true == 1, y_true == 0
    count = len(y_score)
    m, n = int(positive.sum()), int(negative.sum())
    if not m or not n:
        return Aurocs(np.full(count, np.nan), np.full((count, count), np.nan))
    names, index = np.unique(patients, return_inverse=True)
    won_by_positive = np.empty((count, m))
    won_over_negative = np.empty((count, n))
    for row, score in enumerate(y_score):
        won_by_positive[row], won_over_negative[row] = _placements(score[positive], score[negative])
    values = won_by_positive.mean(axis=1)
    # What each patient's images add to, or take from, the areas: (K, P).
    above = _summed(won_by_positive - values[:, None], index[positive], len(names))
    below = _summed(won_over_negative - values[:, None], index[negative], len(names))
    with_positive = len(np.unique(index[positive]))
    with_negative = len(np.unique(index[negative]))
    if min(with_positive, with_negative) < 2:
        return Aurocs(values, np.full((count, count), np.nan))
    mixed = above @ below.T * len(names) / (len(names) - 1) / (m * n)
    covariance = (
        above @ above.T * with_positive / (with_positive - 1) / m**2
        + below @ below.T * with_negative / (with_negative - 1) / n**2
        + mixed
        + mixed.T
    )
    return Aurocs(values, covariance)


def _placements(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives below it, for each negative of positives above.

    A tie is a half.
    """
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(
        ordered, positives, "right"
    )
    ordered = np.sort(positives)
    up_to = np.searchsorted(ordered, negatives, "left") + np.searchsorted(
        ordered, negatives, "right"
    )
    return below / (2 * len(negatives)), 1 - up_to / (2 * len(positives))


def _summed(values: np.ndarray, patient: np.ndarray, patients: int) -> np.ndarray:
    """(K, n) summed over each patient's images: (K, P)."""
    return np.stack([np.bincount(patient, row, minlength=patients) for row in values])
