"""All scores of one set of predictions: per label, macro over labels, micro over all entries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cxrbench.metrics.auroc import mean_defined
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import counted_labels, patient_table
from cxrbench.metrics.scorers import Images, measure, scorers_of


@dataclass(frozen=True)
class LabelScores:
    """The scores of one label; what is undefined is NaN, never 0.

    ``positives`` and ``known`` count images. ``counted`` tells whether the label is part of macro.
    ``threshold`` was chosen on the validation split, and with it accuracy, precision, recall,
    specificity and F1 (2 tp / (2 tp + fp + fn), hence 0 and not NaN when positives are all missed).
    ``sensitivity_at_90`` and ``sensitivity_at_95`` are the highest that a threshold with 90 or 95 %
    specificity has on these images. ``brier`` is the mean squared error of the probabilities, and
    ``ece`` the expected calibration error over 10 bins of equally many images.
    """

    label: str
    counted: bool
    positives: int
    known: int
    threshold: float
    auroc: float
    average_precision: float
    sensitivity_at_90: float
    sensitivity_at_95: float
    accuracy: float
    precision: float
    recall: float
    specificity: float
    f1: float
    brier: float
    ece: float


@dataclass(frozen=True)
class Scores:
    """The scores of one set of predictions by measure; NaN where undefined.

    ``macro``: unweighted means over the counted labels, ``macro_auroc_findings`` without the label
    that is not a finding. A counted label where a measure is undefined (no validation positives, so
    no threshold; no predicted positive, so no precision) is left out of that mean: `labels_in` says
    how many went in. Macro average precision is also known as mean AP. ``micro``: pooled over the
    known entries of all labels of the board, counted or not.
    """

    images: int
    patients: int
    macro: Mapping[str, float]
    micro: Mapping[str, float]
    macro_auroc_findings: float
    labels: tuple[LabelScores, ...]

    def labels_in(self, measure: str) -> int:
        """How many labels went into the macro mean of a field of `LabelScores`."""
        values = [getattr(row, measure) for row in self.labels if row.counted]
        return sum(not math.isnan(value) for value in values)

    def to_json(self) -> dict[str, Any]:
        """The values of ``metrics.json``: ``macro_auroc`` and so on, and the labels in each mean.

        ``macro_labels`` has the number of labels by measure.
        """
        means = {
            f"{kind}_{name}": value
            for kind, values in (("macro", self.macro), ("micro", self.micro))
            for name, value in values.items()
        }
        return {
            "images": self.images,
            "patients": self.patients,
            **means,
            "macro_auroc_findings": self.macro_auroc_findings,
            "labels": [asdict(row) for row in self.labels],
            "macro_labels": {name: self.labels_in(name) for name in MEASURES},
        }


def score(
    y_true: np.ndarray,
    y_score: np.ndarray,
    patient_ids: Sequence[str] | np.ndarray,
    *,
    label_names: Sequence[str],
    no_finding: str | None,
    thresholds: np.ndarray,
    probability: np.ndarray | None = None,
) -> Scores:
    """Score the predictions of a test split.

    Parameters
    ----------
    y_true : (N, L) float32: 1, 0, or NaN where unknown (left out, label by label).
    y_score : (N, L) probabilities, float32 or float64.
    patient_ids : (N,) str; they decide which labels count (`counted_labels`).
    label_names : (L,) str.
    no_finding : the label that is not a finding, or None.
    thresholds : (L,) of `choose_thresholds` on the validation split, NaN where there is none.
    probability : (N, L) calibrated scores, for ``brier`` and ``ece``; by default ``y_score``.

    Raises
    ------
    DataError : shapes do not fit, or a score is NaN or infinite.
    """
    table = patient_table(y_true, patient_ids)
    counted = counted_labels(y_true, patient_ids)
    findings = counted & np.array([name != no_finding for name in label_names], dtype=bool)
    images = Images(
        y_true=y_true,
        y_score=y_score,
        probability=y_score if probability is None else probability,
        thresholds=thresholds,
        patient=table.index,
        patients=len(table),
    )
    whole = measure(scorers_of(images), np.ones((len(table), 1)))
    measures = {name: values[:, 0] for name, values in whole.labels.items()}
    facts = {
        "label": label_names,
        "counted": counted,
        "positives": (y_true == 1).sum(axis=0),
        "known": ((y_true == 1) | (y_true == 0)).sum(axis=0),
        "threshold": thresholds,
    }
    return Scores(
        images=len(y_true),
        patients=len(table),
        macro={name: mean_defined(values[counted]) for name, values in measures.items()},
        micro={name: float(values[0]) for name, values in whole.micro.items()},
        macro_auroc_findings=mean_defined(measures["auroc"][findings]),
        labels=_rows({**facts, **measures}),
    )


def _rows(columns: dict[str, Any]) -> tuple[LabelScores, ...]:
    plain = [np.asarray(column).tolist() for column in columns.values()]
    rows = zip(*plain, strict=True)
    return tuple(LabelScores(**dict(zip(columns, row, strict=True))) for row in rows)
