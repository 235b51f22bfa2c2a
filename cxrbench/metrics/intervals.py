"""95 % intervals and tests of measures, from bootstrap replicates, over patients and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LEVEL = 0.95

METHOD = "wilson-t"
"""How the intervals of a run were computed; runs that name another method hold older ones."""

WITHOUT_INTERVAL = frozenset({"ece"})
"""Measures whose bias on a small test set is larger than their spread."""

BIASED = frozenset({"average_precision"})
"""Measures whose interval is moved by the bias that the bootstrap estimates."""

ROUNDING = 1e-12
"""Means of the same numbers taken in another order differ by less; no real difference does."""


@dataclass(frozen=True)
class Spread:
    """The variance of an estimate over test patients and seeds, with its degrees of freedom."""

    variance: float
    freedom: float

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.variance)


UNKNOWN = Spread(math.nan, math.nan)
_NOTHING_KNOWN = 1e9


@dataclass(frozen=True)
class SeedVariance:
    """Variances of a mean over seeds, and the degrees of freedom of the second, S - 1.

    ``noise`` is test noise of each seed's own: scores of several seeds differ by it too, and it is
    in the variance over patients as well. ``between`` is what the difference between seeds shows,
    s²/S, which is taken as no smaller.
    """

    noise: float
    between: float
    freedom: int


ONE_SEED = SeedVariance(0.0, 0.0, 1)
"""One seed says nothing of what another would change."""


@dataclass(frozen=True, eq=False)
class SeedScores:
    """A measure of the S seeds of a row.

    ``values`` (S,) are the seeds' estimates, ``replicates`` (S, B) those of the same resamples of
    the patients; NaN where undefined.
    """

    values: np.ndarray
    replicates: np.ndarray

    @classmethod
    def alone(cls, value: float, replicates: np.ndarray) -> SeedScores:
        """One seed, with its replicates (B,)."""
        return cls(np.array([value], np.float64), replicates[None])

    @property
    def mean(self) -> float:
        """The estimate of the row."""
        return float(np.mean(self.values))

    @cached_property
    def drawn(self) -> np.ndarray:
        """The replicates (B,) of the mean over seeds."""
        mean: np.ndarray = self.replicates.mean(axis=0)
        return mean

    @cached_property
    def seeds(self) -> SeedVariance:
        """What seeds add to the variance of `mean`."""
        count = len(self.values)
        if count < 2:
            return ONE_SEED
        deviations = self.replicates - np.asarray(self.values)[:, None]
        noise = float(np.mean(np.var(deviations, axis=0, ddof=1)))
        return SeedVariance(noise / count, float(np.var(self.values, ddof=1)) / count, count - 1)


def spread(scores: SeedScores, patients: float) -> Spread:
    """The spread of a mean over seeds; ``patients`` is their effective number."""
    return _over_patients_and_seeds(scores.drawn, [scores.seeds], patients)


def spread_of_difference(a: SeedScores, b: SeedScores, patients: float) -> Spread:
    """The spread of A's mean over seeds minus B's, on the same patients; as `spread`."""
    return _over_patients_and_seeds(a.drawn - b.drawn, [a.seeds, b.seeds], patients)


def _over_patients_and_seeds(
    drawn: np.ndarray, rows: Sequence[SeedVariance], patients: float
) -> Spread:
    if len(drawn) < 2 or np.isnan(drawn).any() or not patients > 1:
        return UNKNOWN
    # A bootstrap of n patients has (n - 1) / n of the variance.
    bessel = patients / (patients - 1)
    rows = [SeedVariance(row.noise * bessel, row.between, row.freedom) for row in rows]
    return with_seeds(Spread(float(np.var(drawn, ddof=1)) * bessel, patients - 1), rows)


def with_seeds(patients: Spread, rows: Sequence[SeedVariance]) -> Spread:
    """The spread over patients joined with that over the seeds of one or two rows.

    Test noise of the seeds' own is counted once.
    """
    shared = patients.variance - sum(row.noise for row in rows)
    seeds = [Spread(max(row.between, row.noise), row.freedom) for row in rows]
    return joined([Spread(max(shared, 0.0), patients.freedom), *seeds])


def joined(spreads: Sequence[Spread]) -> Spread:
    """The spread of a sum of independent estimates.

    References
    ----------
    Welch, The generalization of "Student's" problem, Biometrika 34, 1947. Satterthwaite, An
    approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
    """
    variance = sum(one.variance for one in spreads)
    squares = sum(one.variance**2 / one.freedom for one in spreads if one.variance)
    freedom = variance**2 / squares if squares else spreads[0].freedom
    return Spread(variance, freedom)


def share_interval(
    value: float, spread: Spread, patients: float, *, bias: float = 0.0, level: float = LEVEL
) -> tuple[float, float]:
    """Bounds in [0, 1] of an estimate in [0, 1], which they always include.

    Wilson's interval, whose number of observations is the one that gives a share of this value the
    variance of ``spread``, with a t quantile. A share of exactly 0 or 1 whose replicates do not
    vary is taken as one of ``patients`` observations; any other value without variance is exact.
    The interval is centred on the estimate minus its ``bias``, of which it takes half the way to 0
    or 1 at most, and is then extended to the estimate.

    (NaN, NaN) where the spread is unknown.

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    Korn & Graubard, Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data, Survey Methodology 24, 1998 (effective size, t quantile).
    """
    if math.isnan(value) or math.isnan(spread.variance):
        return math.nan, math.nan
    certain = spread.variance < ROUNDING**2
    if certain and ROUNDING < value < 1 - ROUNDING:
        return value, value
    centre = min(max(value - bias, value / 2), (1 + value) / 2)
    if certain or not ROUNDING < centre < 1 - ROUNDING:
        count = patients
    else:
        count = centre * (1 - centre) / spread.variance
    # Less than one degree of freedom bounds nothing, and its quantile may be infinite.
    scaled = min(t_quantile((1 + level) / 2, spread.freedom) ** 2 / count, _NOTHING_KNOWN)
    middle = (centre + scaled / 2) / (1 + scaled)
    reach = math.sqrt(scaled * centre * (1 - centre) + scaled**2 / 4) / (1 + scaled)
    return max(min(middle - reach, value), 0.0), min(max(middle + reach, value), 1.0)


def measure_interval(measure: str, scores: SeedScores, patients: float) -> tuple[float, float]:
    """The interval of a measure's mean over seeds, (NaN, NaN) where it has none.

    Parameters
    ----------
    measure : one of `cxrbench.metrics.measures.MEASURES`.
    patients : `EffectivePatients.of` the measure.
    """
    if measure in WITHOUT_INTERVAL:
        return math.nan, math.nan
    bias = float(np.mean(scores.drawn)) - scores.mean if measure in BIASED else 0.0
    return share_interval(scores.mean, spread(scores, patients), patients, bias=bias)


def difference_interval(
    difference: float, spread: Spread, *, level: float = LEVEL
) -> tuple[float, float]:
    """Bounds of a difference by a t quantile; (NaN, NaN) where its spread is unknown.

    An error that is not larger than rounding is none: equal seeds have one of 1e-16.
    """
    error = 0.0 if spread.error < ROUNDING else spread.error
    reach = t_quantile((1 + level) / 2, spread.freedom) * error
    return difference - reach, difference + reach


def p_value(difference: float, spread: Spread) -> float:
    """Two-sided p of a difference, by Student's t; see `p_values`."""
    arrays = (np.array([one]) for one in (difference, spread.variance, spread.freedom))
    return float(p_values(*arrays)[0])


def p_values(differences: np.ndarray, variances: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Two-sided p of differences (P,) with these variances and degrees of freedom.

    1 for no difference, 0 for one without any variance, NaN where anything is NaN.
    """
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.abs(differences) / np.sqrt(variances)
    p: np.ndarray = 2 * stdtr(freedom, -quotients)
    p[variances < ROUNDING**2] = 0.0
    p[np.abs(differences) < ROUNDING] = 1.0
    p[np.isnan(differences) | np.isnan(variances)] = np.nan
    return p


def t_quantile(share: float, freedom: float) -> float:
    """Student's t quantile; NaN where the degrees of freedom are."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))
