"""Ranks of the rows of a board: paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    return tuple(_holm(np.asarray(p_values, dtype=np.float64)).tolist())


def _holm(p_values: np.ndarray) -> np.ndarray:
    order = np.argsort(p_values, kind="stable")[: np.count_nonzero(~np.isnan(p_values))]
    remaining = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p_values), np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * remaining))
    return adjusted


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
    if not len(estimates):
        return ()
    values = np.asarray(estimates, dtype=np.float64)
    first, second = np.triu_indices(len(values), 1)
    differences = values[first] - values[second]
    seeds = np.asarray(seed_variances, dtype=np.float64)
    variances = _spread_variances(np.stack(replicates), first, second, differences)
    errors = np.sqrt(variances + seeds[first] + seeds[second])
    significant = _holm(_two_sided_p_values(differences, errors)) < SIGNIFICANCE
    losers = np.where(differences > 0, second, first)[significant]
    better = np.bincount(losers, minlength=len(values))
    rows = zip(values.tolist(), better.tolist(), strict=True)
    return tuple(None if math.isnan(value) else 1 + count for value, count in rows)


def _two_sided_p_values(differences: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """`two_sided_p_value` of many differences (P,) with their standard errors (P,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.abs(differences) / errors / math.sqrt(2)
    # SciPy's is faster for a million pairs, and takes longer than they do to be imported.
    p_values = np.array([math.erfc(quotient) for quotient in quotients.tolist()])
    p_values[errors < ROUNDING] = 0.0
    p_values[np.abs(differences) < ROUNDING] = 1.0
    p_values[np.isnan(differences) | np.isnan(errors)] = np.nan
    return p_values


# Below this share of the rows' own sums of squares, their difference's has lost digits that count.
_CANCELLED = 1e-6


def _spread_variances(
    replicates: np.ndarray, first: np.ndarray, second: np.ndarray, differences: np.ndarray
) -> np.ndarray:
    """Variance over replicates of row ``first`` minus row ``second``, for P pairs of R rows.

    All pairs of (R, B) by one matrix product, |a - b|² being |a|² + |b|² - 2ab. What all rows share
    is taken away before, and pairs so alike that the digits cancel are computed one by one; but not
    where ``differences`` (P,) of the estimates are none, for there the variance does not matter.
    """
    if replicates.shape[1] < 2:
        return np.full(len(first), np.nan)
    known = ~np.isnan(replicates).any(axis=1)
    # A NaN must not reach the other rows through the mean over rows.
    common = replicates[known].mean(axis=0) if known.any() else 0.0
    own = replicates - common
    own -= own.mean(axis=1, keepdims=True)
    products = own @ own.T
    squares = np.einsum("rb,rb->r", own, own)
    both = squares[first] + squares[second]
    variances = both - 2 * products[first, second]
    alike = (variances < _CANCELLED * both) & (np.abs(differences) >= ROUNDING)
    for pair in np.flatnonzero(alike).tolist():
        spread = replicates[first[pair]] - replicates[second[pair]]
        variances[pair] = np.sum((spread - spread.mean()) ** 2)
    return np.maximum(variances, 0.0) / (replicates.shape[1] - 1)
