"""Ranks of the rows of a board: paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    better = _better_rows(rows, means, patients)
    pairs = zip(means.tolist(), better.tolist(), strict=True)
    return tuple(None if math.isnan(mean) else 1 + count for mean, count in pairs)


_PAIRS_AT_ONCE = 1_000_000


def _better_rows(rows: Sequence[SeedScores], means: np.ndarray, patients: float) -> np.ndarray:
    """How many of the R rows are significantly better than each, (R,), by Holm over all pairs.

    Ten thousand rows have fifty million pairs, so these are taken in blocks. A pair with p times
    the number of all pairs below the level is significant whatever the others are, and one with p
    above the level never is; only p between are kept. Holm rejects them in rounds: with c rejected,
    the next are those with p times (tests - c) below the level, until a round rejects no more.
    """
    pairs = len(rows) * (len(rows) - 1) // 2
    spreads = _PairSpreads.of(rows, patients)
    better = np.zeros(len(rows), np.int64)
    tests = sure = 0
    between, losers_between = [np.zeros(0)], [np.zeros(0, np.int32)]
    step = max(1, _PAIRS_AT_ONCE // len(rows))
    for start in range(0, len(rows) - 1, step):
        block = np.arange(start, min(start + step, len(rows) - 1))
        offset, second = np.nonzero(np.arange(len(rows))[None, :] > block[:, None])
        first = offset + start
        differences = means[first] - means[second]
        p = p_values(differences, *spreads.between(first, second, differences))
        losers = np.where(differences > 0, second, first).astype(np.int32)
        tests += int(np.count_nonzero(~np.isnan(p)))
        certain = p * pairs < SIGNIFICANCE
        sure += int(np.count_nonzero(certain))
        better += np.bincount(losers[certain], minlength=len(rows))
        possible = (p < SIGNIFICANCE) & ~certain
        between.append(p[possible])
        losers_between.append(losers[possible])
    p, losers = np.concatenate(between), np.concatenate(losers_between)
    rejected, more = -1, sure
    while more > rejected:
        rejected = more
        significant = p * (tests - rejected) < SIGNIFICANCE
        more = sure + int(np.count_nonzero(significant))
    return better + np.bincount(losers[significant], minlength=len(rows))


def pair_p_values(rows: Sequence[SeedScores], patients: float) -> np.ndarray:
    """The two-sided p of each pair of R rows, not corrected: (R (R - 1) / 2,).

    The pairs are in the order of ``itertools.combinations``; `ranks` explains the parameters.
    """
    if len(rows) < 2:
        return np.zeros(0)
    means = np.array([row.mean for row in rows])
    first, second = np.triu_indices(len(rows), 1)
    differences = means[first] - means[second]
    spreads = _PairSpreads.of(rows, patients)
    return p_values(differences, *spreads.between(first, second, differences))


# Below this share of the rows' own sums of squares, their difference's has lost digits that count.
_CANCELLED = 1e-6


@dataclass(frozen=True, eq=False)
class _PairSpreads:
    """`spread_of_difference` of pairs of R rows.

    ``own`` (R, B) are the replicates without what all rows share and without their mean, and
    ``squares`` (R,) their sums of squares; ``noise``, ``seeds`` and ``freedom`` (R,) are what the
    seeds of each row add.
    """

    rows: Sequence[SeedScores]
    patients: float
    own: np.ndarray
    squares: np.ndarray
    noise: np.ndarray
    seeds: np.ndarray
    freedom: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[SeedScores], patients: float) -> _PairSpreads:
        """The spreads of these rows; ``patients`` is their effective number."""
        own = np.stack([row.drawn for row in rows])
        known = ~np.isnan(own).any(axis=1)
        # A NaN must not reach the other rows through the mean over rows.
        own -= own[known].mean(axis=0) if known.any() else 0.0
        own -= own.mean(axis=1, keepdims=True)
        noise = np.array([row.seeds.noise for row in rows])
        bessel = patients / (patients - 1) if patients > 1 else math.nan
        return cls(
            rows=rows,
            patients=patients,
            own=own,
            squares=np.einsum("rb,rb->r", own, own),
            noise=noise,
            seeds=np.maximum([row.seeds.between for row in rows], noise * bessel),
            freedom=np.array([row.seeds.freedom for row in rows]),
        )

    def between(
        self, first: np.ndarray, second: np.ndarray, differences: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Variances and degrees of freedom, both (P,), of P pairs whose means differ so much."""
        if not self.patients > 1:
            unknown = np.full(len(first), np.nan)
            return unknown, unknown
        bessel = self.patients / (self.patients - 1)
        drawn = self._variances(first, second, differences)
        own = np.maximum(drawn - self.noise[first] - self.noise[second], 0.0) * bessel
        variances = own + self.seeds[first] + self.seeds[second]
        of_seeds = self.seeds**2 / self.freedom
        squares = own**2 / (self.patients - 1) + of_seeds[first] + of_seeds[second]
        freedom = np.full(len(first), self.patients - 1.0)
        np.divide(variances**2, squares, out=freedom, where=squares > 0)
        return variances, freedom

    def _variances(
        self, first: np.ndarray, second: np.ndarray, differences: np.ndarray
    ) -> np.ndarray:
        """Variance over replicates of row ``first`` minus row ``second``, for P pairs.

        By one matrix product, |a - b|² being |a|² + |b|² - 2ab. Pairs so alike that the digits
        cancel are computed one by one; but not where ``differences`` (P,) of the estimates are
        none, for there the variance does not matter. ``first`` are the rows of a block.
        """
        count = self.own.shape[1]
        if count < 2:
            return np.full(len(first), np.nan)
        start, end = (int(first.min()), int(first.max()) + 1) if len(first) else (0, 0)
        products = self.own[start:end] @ self.own.T
        both = self.squares[first] + self.squares[second]
        variances = both - 2 * products[first - start, second]
        alike = (variances < _CANCELLED * both) & (np.abs(differences) >= ROUNDING)
        for pair in np.flatnonzero(alike).tolist():
            spread = self.rows[first[pair]].drawn - self.rows[second[pair]].drawn
            variances[pair] = np.sum((spread - spread.mean()) ** 2)
        variances = np.maximum(variances, 0.0)
        variances /= count - 1
        return variances
