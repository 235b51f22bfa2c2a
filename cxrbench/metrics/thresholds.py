"""From probabilities to decisions: one threshold per label, chosen on the validation split."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.metrics.auroc import check_scores


@dataclass(frozen=True)
class Rule:
    """How thresholds are chosen: by Youden's J, or the highest with at least this sensitivity."""

    sensitivity: float | None = None

    @property
    def text(self) -> str:
        """As ``--thresholds`` spells it."""
        return "youden" if self.sensitivity is None else f"sensitivity={self.sensitivity:.15g}"


YOUDEN = Rule()


def parse_rule(text: str) -> Rule:
    """The rule that ``--thresholds`` spells: ``youden``, or ``sensitivity=0.9``.

    Raises
    ------
    SettingsError : it is neither.
    """
    if text == "youden":
        return YOUDEN
    name, equals, number = text.partition("=")
    try:
        target = float(number)
    except ValueError:
        target = math.nan
    if name == "sensitivity" and equals and 0 < target <= 1:
        return Rule(target)
    raise SettingsError(
        f"--thresholds cannot be {text!r}",
        expected="youden, or sensitivity= with a share such as sensitivity=0.9",
        found=repr(text),
    )


def choose_thresholds(y_true: np.ndarray, y_score: np.ndarray, rule: Rule = YOUDEN) -> np.ndarray:
    """The threshold of each label by Youden's J (sensitivity + specificity - 1) or by sensitivity.

    Candidates are the scores that occur; a score at or above the threshold is positive. Of equally
    good ones the highest is taken, which predicts the fewest positives. With constant scores
    it is the constant, so that every image is positive: J is 0 at any threshold.

    Parameters
    ----------
    y_true, y_score : (N, L) of the validation split; NaN in ``y_true`` is unknown and left out.
    rule : the highest J, or the highest threshold that finds a given share of the positives.

    Returns
    -------
    (L,) float64, NaN where the split has only one class of the label.

    References
    ----------
    Youden, Index for rating diagnostic tests, Cancer 3, 1950.
    """
    check_scores(y_true, y_score)
    columns = zip(y_true.T, y_score.T, strict=True)
    return np.array([_threshold(truth, score, rule) for truth, score in columns], dtype=np.float64)


def _threshold(y_true: np.ndarray, y_score: np.ndarray, rule: Rule) -> float:
    positives = np.sort(y_score[y_true == 1])
    negatives = np.sort(y_score[y_true == 0])
    if not len(positives) or not len(negatives):
        return float("nan")
    if rule.sensitivity is not None:
        # Shares such as 0.9 are no binary fractions: without the slack 9 of 10 would not do.
        needed = math.ceil(rule.sensitivity * len(positives) * (1 - 1e-12))
        return float(positives[len(positives) - needed])
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
