"""All scores of one set of predictions: per label, macro over labels, micro over all entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cxrbench.evaluation.auroc import (
    auroc,
    average_precision,
    check_scores,
    label_auroc,
    label_average_precision,
    mean_defined,
)
from cxrbench.evaluation.patients import counted_labels
from cxrbench.evaluation.thresholds import apply_thresholds

THRESHOLDED = ("accuracy", "precision", "recall", "specificity", "f1")


@dataclass(frozen=True)
class LabelScores:
    """The scores of one label; what is undefined is NaN, never 0.

    ``positives`` and ``known`` count images. ``counted`` tells whether the label is part of macro.
    ``threshold`` was chosen on the validation split, and with it accuracy, precision, recall,
    specificity and F1 (2 tp / (2 tp + fp + fn), hence 0 and not NaN when positives are all missed).
    """

    label: str
    counted: bool
    positives: int
    known: int
    auroc: float
    average_precision: float
    threshold: float
    accuracy: float
    precision: float
    recall: float
    specificity: float
    f1: float


@dataclass(frozen=True)
class Scores:
    """The scores of one set of predictions; NaN where undefined.

    ``macro_*``: unweighted means over the counted labels, ``macro_auroc_findings`` without the
    label that is not a finding. A counted label where a measure is undefined (no validation
    positives, so no threshold; no predicted positive, so no precision) is left out of that mean:
    `labels_in` says how many went in. ``macro_average_precision`` is also known as mean AP.
    ``micro_*``: pooled over the known entries of all labels of the board, counted or not.
    """

    images: int
    patients: int
    macro_auroc: float
    macro_auroc_findings: float
    micro_auroc: float
    macro_average_precision: float
    micro_average_precision: float
    macro_accuracy: float
    macro_precision: float
    macro_recall: float
    macro_specificity: float
    macro_f1: float
    labels: tuple[LabelScores, ...]

    def labels_in(self, measure: str) -> int:
        """How many labels went into the macro mean of a field of `LabelScores`."""
        values = [getattr(row, measure) for row in self.labels if row.counted]
        return sum(not math.isnan(value) for value in values)

    def to_json(self) -> dict[str, Any]:
        """Every field as plain JSON values, None for NaN, and the ``macro_labels`` of each mean."""
        measures = ("auroc", "average_precision", *THRESHOLDED)
        plain = _plain(asdict(self))
        return {**plain, "macro_labels": {name: self.labels_in(name) for name in measures}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def score(
    y_true: np.ndarray,
    y_score: np.ndarray,
    patient_ids: Sequence[str] | np.ndarray,
    *,
    label_names: Sequence[str],
    no_finding: str | None,
    thresholds: np.ndarray,
) -> Scores:
    """Score the predictions of a test split.

    Parameters
    ----------
    y_true : (N, L) float32: 1, 0, or NaN where unknown (left out, label by label).
    y_score : (N, L) probabilities, float32 or float64.
    patient_ids : (N,) str; they decide which labels count (`counted_labels`).
    label_names : (L,) str.
    no_finding : the label that is not a finding, or None.
    thresholds : (L,) of `choose_thresholds` on the validation split.

    Raises
    ------
    DataError : shapes do not fit, or a score is NaN or infinite.
    """
    check_scores(y_true, y_score)
    counted = counted_labels(y_true, patient_ids)
    findings = counted & np.array([name != no_finding for name in label_names], dtype=bool)
    measures = {
        "auroc": label_auroc(y_true, y_score),
        "average_precision": label_average_precision(y_true, y_score),
        **_thresholded(y_true, apply_thresholds(y_score, thresholds)),
    }
    macro = {f"macro_{name}": mean_defined(values[counted]) for name, values in measures.items()}
    facts = {
        "label": label_names,
        "counted": counted,
        "positives": (y_true == 1).sum(axis=0),
        "known": ((y_true == 1) | (y_true == 0)).sum(axis=0),
        "threshold": thresholds,
    }
    return Scores(
        images=len(y_true),
        patients=len(np.unique(np.asarray(patient_ids, dtype=str))),
        macro_auroc_findings=mean_defined(measures["auroc"][findings]),
        micro_auroc=auroc(y_true.ravel(), y_score.ravel()),
        micro_average_precision=average_precision(y_true.ravel(), y_score.ravel()),
        labels=_rows({**facts, **measures}),
        **macro,
    )


def _rows(columns: dict[str, Any]) -> tuple[LabelScores, ...]:
    plain = [np.asarray(column).tolist() for column in columns.values()]
    rows = zip(*plain, strict=True)
    return tuple(LabelScores(**dict(zip(columns, row, strict=True))) for row in rows)


def _thresholded(y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, np.ndarray]:
    tp = ((y_true == 1) & (y_pred == 1)).sum(axis=0)
    fp = ((y_true == 0) & (y_pred == 1)).sum(axis=0)
    fn = ((y_true == 1) & (y_pred == 0)).sum(axis=0)
    tn = ((y_true == 0) & (y_pred == 0)).sum(axis=0)
    return {
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
