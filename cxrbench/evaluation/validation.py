"""The few scores that are worth their time after each training epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrbench.evaluation.auroc import auroc, check_scores, label_auroc, mean_defined


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
