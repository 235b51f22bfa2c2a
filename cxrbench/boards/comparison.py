"""One paired comparison of two rows of a board: macro and micro AUROC, and label by label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from cxrbench.boards.comparison_text import comparison_sections
from cxrbench.metrics.auroc import clustered_aurocs
from cxrbench.metrics.bootstrap import mean_over_seeds, percentile_interval
from cxrbench.metrics.estimate import Estimate, read_estimate
from cxrbench.metrics.ranking import holm, two_sided_p_value
from cxrbench.metrics.resampling import seed_variance, widened
from cxrbench.output.sections import Section
from cxrbench.runs.predictions import Predictions, read_predictions
from cxrbench.runs.selection import Seeds, require_one_board

POWER = 0.8
"""How often a test finds the minimum detectable difference."""

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Scored:
    """A row of a board: what its seeds scored on the same test images.

    ``y_score`` (S, N, L) holds each seed's scores; ``macro`` and ``micro`` (S,) their AUROCs, and
    ``macro_replicates`` and ``micro_replicates`` (S, B) those of the same resamples of patients.
    """

    name: str
    runs: tuple[str, ...]
    y_score: np.ndarray
    macro: np.ndarray
    micro: np.ndarray
    macro_replicates: np.ndarray
    micro_replicates: np.ndarray


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
class Comparison:
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
    replicates = [run.replicates() for run in row]
    scored = Scored(
        name=row[0].conditions.recipe,
        runs=tuple(run.name for run in row),
        y_score=np.stack([seed.y_score for seed in seeds]),
        macro=_metric(row, "macro_auroc"),
        micro=_metric(row, "micro_auroc"),
        macro_replicates=np.stack([arrays["macro_auroc"] for arrays in replicates]),
        micro_replicates=np.stack([arrays["micro_auroc"] for arrays in replicates]),
    )
    return scored, seeds[0]


def _metric(row: Seeds, name: str) -> np.ndarray:
    return np.array([read_estimate(run.metrics, name).value for run in row], np.float64)


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
    joined with the variance over seeds of each row (s²/S; nothing for a row of one seed). Labels:
    the closed form for clustered data (`clustered_aurocs`), and Holm's correction over the counted
    ones.

    Parameters
    ----------
    y_true : (N, L) float32: 1, 0, or NaN where unknown.
    patients : (N,) the patient of each image.
    counted : (L,) bool, the labels in macro.
    patients_known : False where ``patients`` are the images, since nobody knows whose they are.
    """
    return Comparison(
        a=a.name,
        b=b.name,
        runs_a=a.runs,
        runs_b=b.runs,
        test_images=len(y_true),
        test_patients=len(np.unique(patients)) if patients_known else None,
        macro_auroc=paired_difference(a.macro, a.macro_replicates, b.macro, b.macro_replicates),
        micro_auroc=paired_difference(a.micro, a.micro_replicates, b.micro, b.micro_replicates),
        labels=_labels(a, b, y_true, patients, label_names, counted),
    )


def paired_difference(
    a: np.ndarray, replicates_a: np.ndarray, b: np.ndarray, replicates_b: np.ndarray
) -> Difference:
    """The difference of two rows' means over seeds, by the same resamples of patients.

    Parameters
    ----------
    a, b : (S,) a score of each seed; S need not be the same.
    replicates_a, replicates_b : (S, B) that score of the resamples.
    """
    mean_a, mean_b = float(np.mean(a)), float(np.mean(b))
    spread = mean_over_seeds(list(replicates_a)) - mean_over_seeds(list(replicates_b))
    seeds = seed_variance(list(a)) + seed_variance(list(b))
    variance = float(np.var(spread, ddof=1)) + seeds if len(spread) > 1 else math.nan
    difference = mean_a - mean_b
    low, high = widened(difference, percentile_interval(spread, LEVEL), seeds, level=LEVEL)
    error = math.sqrt(variance)
    return Difference(
        a=mean_a,
        b=mean_b,
        difference=difference,
        low=low,
        high=high,
        p=two_sided_p_value(difference, error),
        detectable=_detectable(error),
    )


def _labels(
    a: Scored,
    b: Scored,
    y_true: np.ndarray,
    patients: np.ndarray,
    label_names: Sequence[str],
    counted: np.ndarray,
) -> tuple[LabelDifference, ...]:
    seeds_a, seeds_b = len(a.y_score), len(b.y_score)
    # The mean over A's seeds minus the mean over B's.
    contrast = np.concatenate([np.full(seeds_a, 1 / seeds_a), np.full(seeds_b, -1 / seeds_b)])
    both = np.concatenate([a.y_score, b.y_score])
    rows = []
    for column, label in enumerate(label_names):
        truth = y_true[:, column]
        aurocs = clustered_aurocs(truth, both[:, :, column], patients)
        of_a, of_b = aurocs.values[:seeds_a], aurocs.values[seeds_a:]
        variance = float(contrast @ aurocs.covariance @ contrast)
        # Rounding alone can take a variance of zero below it.
        variance = max(variance, 0.0) + seed_variance(list(of_a)) + seed_variance(list(of_b))
        difference, error = float(contrast @ aurocs.values), math.sqrt(variance)
        reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
        rows.append(
            LabelDifference(
                label=label,
                counted=bool(counted[column]),
                positives=int((truth == 1).sum()),
                known=int(((truth == 1) | (truth == 0)).sum()),
                a=float(of_a.mean()),
                b=float(of_b.mean()),
                difference=difference,
                low=difference - reach,
                high=difference + reach,
                p=two_sided_p_value(difference, error),
                p_holm=math.nan,
            )
        )
    return _corrected(rows)


def _corrected(rows: Sequence[LabelDifference]) -> tuple[LabelDifference, ...]:
    tested = [row.p if row.counted else math.nan for row in rows]
    return tuple(replace(row, p_holm=p) for row, p in zip(rows, holm(tested), strict=True))


def _detectable(error: float) -> float:
    normal = NormalDist()
    return (normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)) * error
