"""AUROC of arrays, its variance in closed form, and the quick score of a validation split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrbench.errors import DataError
from cxrbench.metrics.intervals import ONE_SEED, UNKNOWN, SeedVariance, Spread, with_seeds


def check_scores(y_true: np.ndarray, y_score: np.ndarray) -> None:
    """Raise `DataError` unless both are (N, L) and every score is a finite number."""
    if y_true.ndim != 2 or y_true.shape != y_score.shape:
        raise DataError(
            "the scores do not fit the labels",
            expected=f"y_score of the same shape (N, L) as y_true, {y_true.shape}",
            found=f"{y_score.shape}",
            fix="give one score for each image and label, in the order of y_true",
        )
    bad = int(np.count_nonzero(~np.isfinite(y_score)))
    if bad:
        raise DataError(
            "some scores are not numbers",
            expected="a finite y_score for every image and label",
            found=f"{bad} of {y_score.size} are NaN or infinite",
            fix="if a model returned them, its training diverged: use a smaller learning rate",
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


def clustered_difference(
    y_true: np.ndarray, a: np.ndarray, b: np.ndarray, patient_ids: np.ndarray, patients: float
) -> tuple[np.ndarray, np.ndarray, Spread]:
    """AUROCs of one label of the seeds of two rows, and the spread of their means' difference.

    Parameters
    ----------
    a, b : (S, n) scores of the same images; S need not be the same.
    y_true, patient_ids : as for `clustered_aurocs`.
    patients : their effective number, that of the rarer class.
    """
    seeds = len(a)
    found = clustered_aurocs(y_true, np.concatenate([a, b]), patient_ids)
    rows = (slice(None, seeds), slice(seeds, None))
    values_a, values_b = (found.values[row] for row in rows)
    contrast = np.concatenate([np.full(seeds, 1 / seeds), np.full(len(b), -1 / len(b))])
    variance = float(contrast @ found.covariance @ contrast)
    if np.isnan(variance) or not patients > 1:
        return values_a, values_b, UNKNOWN
    # Rounding alone can take a variance of zero below it.
    over_patients = Spread(max(variance, 0.0), patients - 1)
    parts = [_seeds(found.values[row], found.covariance[row, row]) for row in rows]
    return values_a, values_b, with_seeds(over_patients, parts)


def _seeds(values: np.ndarray, covariance: np.ndarray) -> SeedVariance:
    count = len(values)
    if count < 2:
        return ONE_SEED
    # Each seed's variance that the others do not share.
    own = np.trace(covariance) - (covariance.sum() - np.trace(covariance)) / (count - 1)
    noise = max(float(own) / count, 0.0)
    return SeedVariance(noise / count, float(np.var(values, ddof=1)) / count, count - 1)


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


@dataclass(frozen=True)
class ValidationScores:
    """Scores of the whole validation split at the end of an epoch; NaN where undefined.

    ``macro_auroc`` is over the labels of which the split has both classes, ``labels`` of them.
    The others are pooled over all known entries: ``micro_auroc``, and accuracy, precision and
    recall with a score of 0.5 or more taken as positive.
    """

    macro_auroc: float
    micro_auroc: float
    accuracy: float
    precision: float
    recall: float
    labels: int


def validation_scores(y_true: np.ndarray, y_score: np.ndarray) -> ValidationScores:
    """Score ``y_score`` (N, L) against ``y_true`` (N, L): 1, 0, or NaN where unknown.

    Raises `DataError` when a score is NaN or infinite, as those of a diverged model are.
    """
    check_scores(y_true, y_score)
    per_label = label_auroc(y_true, y_score)
    positive, negative, predicted = y_true == 1, y_true == 0, y_score >= 0.5
    hits = _count(positive & predicted)
    false_alarms = _count(negative & predicted)
    positives, negatives = _count(positive), _count(negative)
    return ValidationScores(
        macro_auroc=mean_defined(per_label),
        micro_auroc=auroc(y_true.ravel(), y_score.ravel()),
        accuracy=_ratio(hits + negatives - false_alarms, positives + negatives),
        precision=_ratio(hits, hits + false_alarms),
        recall=_ratio(hits, positives),
        labels=_count(~np.isnan(per_label)),
    )


def _count(entries: np.ndarray) -> int:
    return int(np.count_nonzero(entries))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
