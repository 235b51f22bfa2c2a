"""Ranks of the rows of a board: paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cxrbench.metrics.intervals import ROUNDING, SeedScores, p_values

SIGNIFICANCE = 0.05


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


def ranks(rows: Sequence[SeedScores], patients: float) -> tuple[int | None, ...]:
    """The rank of each row: 1 + the number of rows that are significantly better.

    Better means a higher mean over seeds with p < 0.05 after Holm's correction over all pairs of
    the board. Rows that do not differ significantly share a rank.

    Parameters
    ----------
    rows : macro AUROCs; replicates are paired.
    patients : their effective number.

    Returns
    -------
    R ranks; None for a row whose mean is NaN.
    """
    if not rows:
        return ()
    means = np.array([row.mean for row in rows])
    first, second = np.triu_indices(len(rows), 1)
    differences = means[first] - means[second]
    significant = _holm(pair_p_values(rows, patients)) < SIGNIFICANCE
    losers = np.where(differences > 0, second, first)[significant]
    better = np.bincount(losers, minlength=len(rows))
    pairs = zip(means.tolist(), better.tolist(), strict=True)
    return tuple(None if math.isnan(mean) else 1 + count for mean, count in pairs)


def pair_p_values(rows: Sequence[SeedScores], patients: float) -> np.ndarray:
    """The two-sided p of each pair of R rows, not corrected: (R (R - 1) / 2,).

    The pairs are in the order of ``itertools.combinations``; `ranks` explains the parameters.
    """
    means = np.array([row.mean for row in rows])
    first, second = np.triu_indices(len(rows), 1)
    differences = means[first] - means[second]
    variances, freedom = _spreads(rows, patients, first, second, differences)
    return p_values(differences, variances, freedom)


def _spreads(
    rows: Sequence[SeedScores],
    patients: float,
    first: np.ndarray,
    second: np.ndarray,
    differences: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`spread_of_difference` of P pairs: variances and degrees of freedom, both (P,)."""
    if not patients > 1:
        unknown = np.full(len(first), np.nan)
        return unknown, unknown
    bessel = patients / (patients - 1)
    noise = np.array([row.seeds.noise for row in rows])
    between = np.maximum([row.seeds.between for row in rows], noise * bessel)
    others = np.array([row.seeds.freedom for row in rows])
    drawn = _spread_variances(np.stack([row.drawn for row in rows]), first, second, differences)
    own = np.maximum(drawn - noise[first] - noise[second], 0.0) * bessel
    variances = own + between[first] + between[second]
    squares = own**2 / (patients - 1)
    squares += (between**2 / others)[first] + (between**2 / others)[second]
    freedom = np.full(len(first), patients - 1.0)
    np.divide(variances**2, squares, out=freedom, where=squares > 0)
    return variances, freedom


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
