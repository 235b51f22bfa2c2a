"""Which rows of a board are better than which: paired tests, Holm's correction, ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

SIGNIFICANCE = 0.05

ROUNDING = 1e-12
"""Means of the same AUROCs taken in another order differ by less; no real difference does."""


def paired_p_value(
    replicates_a: np.ndarray,
    estimate_a: float,
    replicates_b: np.ndarray,
    estimate_b: float,
    *,
    seeds: float = 0.0,
) -> float:
    """Two-sided p of a difference between two rows of a board, by the paired bootstrap.

    The standard error is the spread of the differences replicate by replicate, which hold the same
    patients; the p is that of a normal distribution, so it can be as small as a correction for
    many pairs needs, and is not bounded by one over the number of replicates.

    Parameters
    ----------
    replicates_a, replicates_b : (B,) macro AUROC of the rows; replicate b of the same patients.
    estimate_a, estimate_b : macro AUROC on the whole test split.
    seeds : variance of the difference that comes from the rows' seeds, see `seed_variance`.

    Returns
    -------
    float in [0, 1]: 1 for equal estimates, 0 for a difference without any spread, NaN when an
    estimate or a replicate is NaN or there are fewer than two replicates.
    """
    spread = replicates_a - replicates_b
    if len(spread) < 2:
        return float("nan")
    error = math.sqrt(float(np.var(spread, ddof=1)) + seeds)
    return two_sided_p_value(estimate_a - estimate_b, error)


def two_sided_p_value(difference: float, error: float) -> float:
    """Two-sided p of a difference with this standard error, from a normal distribution.

    1 for no difference, 0 for one without any error, NaN where either is NaN.
    """
    if math.isnan(difference) or math.isnan(error):
        return float("nan")
    if abs(difference) < ROUNDING:
        return 1.0
    if error < ROUNDING:
        return 0.0
    return math.erfc(abs(difference) / error / math.sqrt(2))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values adjusted for their number by Holm's step-down method, in the order given.

    NaN stays NaN and is not counted as a test.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")[: np.count_nonzero(~np.isnan(given))]
    remaining = np.arange(len(order), 0, -1)
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * remaining))
    return tuple(adjusted.tolist())


def ranks(
    estimates: Sequence[float],
    replicates: Sequence[np.ndarray],
    seed_variances: Sequence[float],
) -> tuple[int | None, ...]:
    """The rank of each row: 1 + the number of rows that are significantly better.

    Better means a higher estimate with p < 0.05 after Holm's correction over all pairs of the
    board. Rows that do not differ significantly share a rank.

    Parameters
    ----------
    estimates : R macro AUROCs.
    replicates : R arrays (B,), paired by replicate.
    seed_variances : R variances of the rows' means over seeds, 0 for a row of one seed.

    Returns
    -------
    R ranks; None for a row whose estimate is NaN.
    """
    pairs = list(combinations(range(len(estimates)), 2))
    adjusted = holm(
        [
            paired_p_value(
                replicates[a],
                estimates[a],
                replicates[b],
                estimates[b],
                seeds=seed_variances[a] + seed_variances[b],
            )
            for a, b in pairs
        ]
    )
    better = [0] * len(estimates)
    for (a, b), p in zip(pairs, adjusted, strict=True):
        if p < SIGNIFICANCE:
            better[b if estimates[a] > estimates[b] else a] += 1
    rows = zip(estimates, better, strict=True)
    return tuple(None if math.isnan(value) else 1 + count for value, count in rows)
