"""Ranks of the rows of a board: paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.metrics.intervals import ROUNDING, SeedScores, p_values, t_quantile

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
    means = [row.mean for row in rows]
    better = _better_rows(rows, patients)
    pairs = zip(means, better.tolist(), strict=True)
    return tuple(None if math.isnan(mean) else 1 + count for mean, count in pairs)


_PAIRS_AT_ONCE = 400_000
_ROUNDED_UP = 1.000001
_SURELY_NOT = 3.84
"""The square of a t statistic below which p is above 0.05 for all degrees of freedom."""


def _better_rows(rows: Sequence[SeedScores], patients: float) -> np.ndarray:
    """How many of the R rows are significantly better than each, (R,), by Holm over all pairs.

    Ten thousand rows have fifty million pairs, so these are taken in blocks. A pair with p times
    the number of all pairs below the level is significant whatever the others are, and one with p
    above the level never is; only p between are kept. Holm rejects them in rounds: with c rejected,
    the next are those with p times (tests - c) below the level, until a round rejects no more.
    """
    pairs = len(rows) * (len(rows) - 1) // 2
    spreads = _PairSpreads.of(rows, patients)
    better = np.zeros(len(rows), np.int64)
    tests = rejected = 0
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, _PAIRS_AT_ONCE // max(len(rows), 1))
    for start in range(0, len(rows) - 1, step):
        block = spreads.block(start, min(start + step, len(rows) - 1))
        tests += block.known
        p, losers = block.candidates()
        certain = p * pairs < SIGNIFICANCE
        rejected += int(np.count_nonzero(certain))
        better += np.bincount(losers[certain], minlength=len(rows))
        possible = (p < SIGNIFICANCE) & ~certain
        waiting.append((p[possible], losers[possible]))
    more = True
    while more:
        limit, more = tests - rejected, False
        for place, (p, losers) in enumerate(waiting):
            significant = p * limit < SIGNIFICANCE
            if significant.any():
                more = True
                rejected += int(np.count_nonzero(significant))
                better += np.bincount(losers[significant], minlength=len(rows))
                waiting[place] = (p[~significant], losers[~significant])
    return better


def pair_p_values(rows: Sequence[SeedScores], patients: float) -> np.ndarray:
    """The two-sided p of each pair of R rows, not corrected: (R (R - 1) / 2,).

    The pairs are in the order of ``itertools.combinations``; `ranks` explains the parameters.
    """
    if len(rows) < 2:
        return np.zeros(0)
    return _PairSpreads.of(rows, patients).block(0, len(rows) - 1).p_values()


# Below this share of the rows' own sums of squares, their difference's has lost digits that count.
_CANCELLED = 1e-6


@dataclass(frozen=True, eq=False)
class _PairSpreads:
    """What `spread_of_difference` needs of R rows.

    ``own`` (R, B) are the replicates without what all rows share and without their mean, and
    ``squares`` (R,) their sums of squares; ``noise``, ``seeds`` and ``freedom`` (R,) are what the
    seeds of each row add.
    """

    rows: Sequence[SeedScores]
    patients: float
    means: np.ndarray
    own: np.ndarray
    squares: np.ndarray
    noise: np.ndarray
    seeds: np.ndarray
    freedom: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[SeedScores], patients: float) -> _PairSpreads:
        """Of these rows; ``patients`` is their effective number."""
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
            means=np.array([row.mean for row in rows]),
            own=own,
            squares=np.einsum("rb,rb->r", own, own),
            noise=noise,
            seeds=np.maximum([row.seeds.between for row in rows], noise * bessel),
            freedom=np.array([row.seeds.freedom for row in rows]),
        )

    def block(self, start: int, end: int) -> _PairBlock:
        """The rows from ``start`` to before ``end``, each with all rows after it.

        Variances come from one matrix product, |a - b|² being |a|² + |b|² - 2ab. Pairs so alike
        that the digits cancel are computed one by one; but not where the estimates do not differ,
        for there the variance does not matter.
        """
        differences = self.means[start:end, None] - self.means[None, start:]
        later = np.arange(start, len(self.rows))[None, :] > np.arange(start, end)[:, None]
        count = self.own.shape[1]
        if count < 2 or not self.patients > 1:
            return _PairBlock(self, start, differences, np.full(later.shape, np.nan), later)
        both = self.squares[start:end, None] + self.squares[None, start:]
        variances = both - 2 * (self.own[start:end] @ self.own[start:].T)
        alike = (variances < _CANCELLED * both) & (np.abs(differences) >= ROUNDING) & later
        for one, other in np.argwhere(alike).tolist():
            spread = self.rows[start + one].drawn - self.rows[start + other].drawn
            variances[one, other] = np.sum((spread - spread.mean()) ** 2)
        np.maximum(variances, 0.0, out=variances)
        variances /= count - 1
        return _PairBlock(self, start, differences, variances, later)


@dataclass(frozen=True, eq=False)
class _PairBlock:
    """Some rows with all rows from ``start`` on: differences of means, variances over replicates.

    ``later`` marks the pairs whose second row comes after the first: every pair once.
    """

    spreads: _PairSpreads
    start: int
    differences: np.ndarray
    variances: np.ndarray
    later: np.ndarray

    @property
    def known(self) -> int:
        """The number of pairs that can be tested."""
        unknown = np.isnan(self.differences) | np.isnan(self.variances)
        return int(np.count_nonzero(self.later & ~unknown))

    def p_values(self) -> np.ndarray:
        """The p of every pair, in the order of the rows."""
        return self._p_of(np.flatnonzero(self.later))

    def candidates(self) -> tuple[np.ndarray, np.ndarray]:
        """The p of all pairs that may be significant, with the row that is worse in each.

        A p of 0 also stands for one that is significant whatever the others are.
        """
        # With several seeds the variance is never smaller than this part of it.
        patients = self.spreads.patients
        bessel = patients / (patients - 1) if patients > 1 else math.nan
        noise = self.spreads.noise
        least = self.variances - noise[self._firsts, None] - noise[None, self.start :]
        places = np.flatnonzero(self.later & ~(self.differences**2 < _SURELY_NOT * bessel * least))
        first, second = self._rows(places)
        losers = np.where(self.differences.ravel()[places] > 0, second, first)
        return self._p_of(places, exact=False), losers.astype(np.int32)

    @property
    def _firsts(self) -> slice:
        return slice(self.start, self.start + len(self.differences))

    def _rows(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = np.divmod(places, self.differences.shape[1])
        return first + self.start, second + self.start

    def _p_of(self, places: np.ndarray, *, exact: bool = True) -> np.ndarray:
        """The p of the pairs at flat ``places``, with what the seeds of their rows add.

        Unless ``exact``, p is 0 where it is below the level divided by the number of all pairs.
        """
        all_rows, patients = self.spreads, self.spreads.patients
        differences = self.differences.ravel()[places]
        if not patients > 1:
            return np.full(len(places), np.nan)
        first, second = self._rows(places)
        drawn = self.variances.ravel()[places]
        own = np.maximum(drawn - all_rows.noise[first] - all_rows.noise[second], 0.0)
        own *= patients / (patients - 1)
        variances = own + all_rows.seeds[first] + all_rows.seeds[second]
        of_seeds = all_rows.seeds**2 / all_rows.freedom
        squares = own**2 / (patients - 1) + of_seeds[first] + of_seeds[second]
        freedom = np.full(len(places), patients - 1.0)
        np.divide(variances**2, squares, out=freedom, where=squares > 0)
        if exact or not len(places):
            return p_values(differences, variances, freedom)
        # Student's p takes most of the time of a large board. The fewest degrees of freedom have
        # the largest quantile, so no pair beyond it has a larger p.
        level = SIGNIFICANCE / (len(all_rows.rows) * (len(all_rows.rows) - 1))
        least = (_ROUNDED_UP * t_quantile(level, float(freedom.min()))) ** 2
        doubtful = ~((differences**2 > least * variances) & (np.abs(differences) >= ROUNDING))
        p = np.zeros(len(places))
        p[doubtful] = p_values(differences[doubtful], variances[doubtful], freedom[doubtful])
        return p
