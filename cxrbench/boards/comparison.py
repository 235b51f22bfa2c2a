"""One paired comparison of two rows of a board: macro and micro AUROC, and label by label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from cxrbench.boards.comparison_text import comparison_sections
from cxrbench.metrics.auroc import clustered_difference
from cxrbench.metrics.estimate import Estimate
from cxrbench.metrics.intervals import (
    LEVEL,
    SeedScores,
    Spread,
    difference_interval,
    p_value,
    spread_of_difference,
    t_quantile,
)
from cxrbench.metrics.patients import patient_table, split_patients
from cxrbench.metrics.ranking import holm
from cxrbench.output.sections import Section
from cxrbench.output.show import Shown
from cxrbench.runs.predictions import Predictions, read_predictions
from cxrbench.runs.selection import Seeds, require_one_board, row_scores

POWER = 0.8
"""How often a test finds the minimum detectable difference."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A row of a board: what its seeds scored on the same test images.

    ``y_score`` (S, N, L) holds each seed's scores, ``macro`` and ``micro`` their AUROCs.
    """

    name: str
    runs: tuple[str, ...]
    y_score: np.ndarray
    macro: SeedScores
    micro: SeedScores


@dataclass(frozen=True)
class Difference:
    """A minus B on the same test images; NaN where undefined.

    ``low`` and ``high`` bound the 95 % interval, ``p`` is two-sided. ``detectable`` is the minimum
    detectable difference at a power of 80 %.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    detectable: float

    @property
    def estimate(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(self.difference, self.low, self.high)


@dataclass(frozen=True)
class LabelDifference:
    """One label's AUROC, A minus B; ``p_holm`` is ``p`` adjusted for the counted labels."""

    label: str
    counted: bool
    positives: int
    known: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def estimate(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(self.difference, self.low, self.high)


@dataclass(frozen=True)
class Comparison(Shown):
    """Two rows of one board, A and B; ``test_patients`` is None where patients are unknown."""

    a: str
    b: str
    runs_a: tuple[str, ...]
    runs_b: tuple[str, ...]
    test_images: int
    test_patients: int | None
    macro_auroc: Difference
    micro_auroc: Difference
    labels: tuple[LabelDifference, ...]

    def sections(self) -> tuple[Section, ...]:
        """Both scores in numbers and words, then the labels."""
        return comparison_sections(self)

    def to_json(self) -> Comparison:
        """The fields are the keys."""
        return self

    def records(self) -> list[dict[str, Any]]:
        """A line for macro and micro AUROC, then one for each label."""
        columns = ("score", *(field.name for field in fields(LabelDifference)), "detectable")
        lines = [
            {"score": "macro_auroc", **asdict(self.macro_auroc)},
            {"score": "micro_auroc", **asdict(self.micro_auroc)},
            *({"score": "auroc", **asdict(label)} for label in self.labels),
        ]
        return [{name: line.get(name) for name in columns} for line in lines]


def read_row(row: Seeds) -> tuple[Scored, Predictions]:
    """What a row's seeds scored, from their predictions, and those of the first seed.

    Raises
    ------
    RunError : a run's predictions are missing, damaged or other than those that it wrote.
    """
    seeds = [read_predictions(run) for run in row]
    scores = row_scores(row, ("macro_auroc", "micro_auroc"))
    scored = Scored(
        name=row[0].conditions.recipe,
        runs=tuple(run.name for run in row),
        y_score=np.stack([seed.y_score for seed in seeds]),
        macro=scores["macro_auroc"],
        micro=scores["micro_auroc"],
    )
    return scored, seeds[0]


def compare_rows(a: Seeds, b: Seeds) -> Comparison:
    """Compare two rows of one board from their predictions.

    Raises
    ------
    RunError : they were not scored on the same test images, or predictions are damaged.
    """
    require_one_board(a, b)
    (scored_a, test), (scored_b, _) = read_row(a), read_row(b)
    return compare(
        scored_a,
        scored_b,
        test.y_true,
        test.patients,
        label_names=test.label_names,
        counted=test.counted,
        patients_known=test.patients_known,
    )


def compare(
    a: Scored,
    b: Scored,
    y_true: np.ndarray,
    patients: np.ndarray,
    *,
    label_names: Sequence[str],
    counted: np.ndarray,
    patients_known: bool = True,
) -> Comparison:
    """Compare two rows on the same test images.

    Macro and micro AUROC: the spread of the differences of replicates that hold the same patients,
    and of the seeds of each row (`spread_of_difference`). Labels: the closed form for clustered
    data (`clustered_difference`), and Holm's correction over the counted ones. All tests are
    Student's, with the effective number of patients.

    Parameters
    ----------
    y_true : (N, L) float32: 1, 0, or NaN where unknown.
    patients : (N,) the patient of each image.
    counted : (L,) bool, the labels in macro.
    patients_known : False where ``patients`` are the images, since nobody knows whose they are.
    """
    effective = split_patients(patient_table(y_true, patients), counted)
    return Comparison(
        a=a.name,
        b=b.name,
        runs_a=a.runs,
        runs_b=b.runs,
        test_images=len(y_true),
        test_patients=len(np.unique(patients)) if patients_known else None,
        macro_auroc=paired_difference(a.macro, b.macro, effective.macro.of("auroc")),
        micro_auroc=paired_difference(a.micro, b.micro, effective.micro.of("auroc")),
        labels=_corrected(
            [
                _label_difference(
                    label,
                    bool(counted[column]),
                    y_true[:, column],
                    (a.y_score[..., column], b.y_score[..., column]),
                    patients,
                    effective.labels[column].of("auroc"),
                )
                for column, label in enumerate(label_names)
            ]
        ),
    )


def _bounds(difference: float, spread: Spread) -> tuple[float, float]:
    """The interval of a difference of two shares, which cannot leave -1 to 1."""
    low, high = np.clip(difference_interval(difference, spread), -1.0, 1.0)
    return float(low), float(high)


def paired_difference(a: SeedScores, b: SeedScores, patients: float) -> Difference:
    """The difference of two rows' means over seeds; ``patients`` is their effective number."""
    difference, spread = a.mean - b.mean, spread_of_difference(a, b, patients)
    low, high = _bounds(difference, spread)
    return Difference(
        a=a.mean,
        b=b.mean,
        difference=difference,
        low=low,
        high=high,
        p=p_value(difference, spread),
        detectable=_detectable(spread),
    )


def _label_difference(
    label: str,
    counted: bool,
    y_true: np.ndarray,
    y_score: tuple[np.ndarray, np.ndarray],
    patient_ids: np.ndarray,
    patients: float,
) -> LabelDifference:
    values_a, values_b, spread = clustered_difference(y_true, *y_score, patient_ids, patients)
    a, b = float(values_a.mean()), float(values_b.mean())
    low, high = _bounds(a - b, spread)
    return LabelDifference(
        label=label,
        counted=counted,
        positives=int((y_true == 1).sum()),
        known=int(((y_true == 1) | (y_true == 0)).sum()),
        a=a,
        b=b,
        difference=a - b,
        low=low,
        high=high,
        p=p_value(a - b, spread),
        p_holm=math.nan,
    )


def _corrected(rows: Sequence[LabelDifference]) -> tuple[LabelDifference, ...]:
    tested = [row.p if row.counted else math.nan for row in rows]
    return tuple(replace(row, p_holm=p) for row, p in zip(rows, holm(tested), strict=True))


def _detectable(spread: Spread) -> float:
    quantiles = (t_quantile(share, spread.freedom) for share in ((1 + LEVEL) / 2, POWER))
    return sum(quantiles) * spread.error
