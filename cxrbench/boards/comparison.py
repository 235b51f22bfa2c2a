"""One paired comparison of two rows of a board: macro and micro AUROC, and label by label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from cxrbench.metrics.auroc import clustered_aurocs
from cxrbench.metrics.bootstrap import mean_over_seeds, percentile_interval
from cxrbench.metrics.ranking import holm, two_sided_p_value
from cxrbench.metrics.resampling import seed_variance, widened
from cxrbench.runs.predictions import Predictions, read_predictions
from cxrbench.runs.run import Run

POWER = 0.8
"""How often a test finds the difference that is called the smallest it can find."""

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
    """A minus B on the same test images; None where undefined.

    ``low`` and ``high`` bound the 95 % interval, ``p`` is two-sided. ``detectable`` is the smallest
    difference that this test finds 8 times in 10.
    """

    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    detectable: float | None


@dataclass(frozen=True)
class LabelDifference:
    """One label's AUROC, A minus B; ``p_holm`` is ``p`` adjusted for the counted labels."""

    label: str
    counted: bool
    positives: int
    known: int
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None


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


def read_row(row: Sequence[Run]) -> tuple[Scored, Predictions]:
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


def _metric(row: Sequence[Run], name: str) -> np.ndarray:
    values = [run.metrics[name] for run in row]
    return np.array([np.nan if value is None else value for value in values], np.float64)


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
        a=_plain(mean_a),
        b=_plain(mean_b),
        difference=_plain(difference),
        low=_plain(low),
        high=_plain(high),
        p=_plain(two_sided_p_value(difference, error)),
        detectable=_plain(_detectable(error)),
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
        found = clustered_aurocs(truth, both[:, :, column], patients)
        of_a, of_b = found.values[:seeds_a], found.values[seeds_a:]
        variance = float(contrast @ found.covariance @ contrast)
        # Rounding alone can take a variance of zero below it.
        variance = max(variance, 0.0) + seed_variance(list(of_a)) + seed_variance(list(of_b))
        difference, error = float(contrast @ found.values), math.sqrt(variance)
        reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
        rows.append(
            LabelDifference(
                label=label,
                counted=bool(counted[column]),
                positives=int((truth == 1).sum()),
                known=int(((truth == 1) | (truth == 0)).sum()),
                a=_plain(float(of_a.mean())),
                b=_plain(float(of_b.mean())),
                difference=_plain(difference),
                low=_plain(difference - reach),
                high=_plain(difference + reach),
                p=_plain(two_sided_p_value(difference, error)),
                p_holm=None,
            )
        )
    return _corrected(rows)


def _corrected(rows: Sequence[LabelDifference]) -> tuple[LabelDifference, ...]:
    tested = [math.nan if row.p is None or not row.counted else row.p for row in rows]
    return tuple(replace(row, p_holm=_plain(p)) for row, p in zip(rows, holm(tested), strict=True))


def _detectable(error: float) -> float:
    normal = NormalDist()
    return (normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)) * error


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
