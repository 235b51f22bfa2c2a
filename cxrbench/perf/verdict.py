"""The verdict on a path: slower, faster, no change beyond a threshold, or inconclusive.

The measure is the median log-ratio of the two sides. Its error comes from a bootstrap with restarts
as clusters, since a process keeps for its life what its memory layout gave it. With a handful of
restarts the bootstrap's percentiles are too narrow, so its standard deviation is used with
Student's t, as many degrees of freedom as restarts allow. The same side measured against itself,
in the same rounds, is a second estimate of the same error, and both are used. Paths share the
error rate by Holm's method, looks at growing samples by halves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ALPHA = 0.01
"""How often, at most, a call says slower or faster where no path changed beyond the threshold."""

ALPHA_NO_CHANGE = 0.05
"""How often, at most, a path that changed by the threshold is said not to have changed."""

REPLICATES = 1_000

INCONCLUSIVE = "cannot tell"
"""The state of an inconclusive path, as JSON has it; texts say inconclusive."""

# Clocks tick in nanoseconds; equal numbers do not make a difference certain.
_SMALLEST_ERROR = 1e-5


@dataclass(frozen=True)
class Effect:
    """A log-ratio of times, its standard error and that error's degrees of freedom."""

    estimate: float
    error: float
    freedom: int


@dataclass(frozen=True)
class Criterion:
    """``threshold`` is the ratio minus 1 that matters; ``look`` counts looks at the same samples.

    At look k (from 1) the error rates are divided by 2^k, which all looks together do not exceed.
    """

    threshold: float = 0.05
    look: int = 1
    alpha: float = ALPHA
    alpha_no_change: float = ALPHA_NO_CHANGE

    @property
    def margin(self) -> float:
        """The threshold as a log-ratio."""
        return math.log1p(self.threshold)


@dataclass(frozen=True)
class Verdict:
    """Slower, faster, no change or `INCONCLUSIVE`, and then ``why``.

    ``ratio`` is head's time over base's, ``low`` and ``high`` its 95 % interval; ``control`` the
    same of base against itself, with ``control_low`` and ``control_high``.
    """

    state: str
    ratio: float
    low: float
    high: float
    control: float
    control_low: float
    control_high: float
    why: str = ""


def paired_effect(ratios: np.ndarray, seed: int = 0) -> Effect:
    """The effect that log-ratios (restarts, pairs) show: their median.

    Restarts are drawn with replacement, each with all its pairs (Davison & Hinkley, Bootstrap
    Methods and their Application, 1997, section 3.8).
    """
    restarts = len(ratios)
    drawn = np.random.default_rng(seed).integers(0, restarts, (REPLICATES, restarts))
    medians = np.median(ratios[drawn].reshape(REPLICATES, -1), axis=1)
    # A bootstrap of n draws has the variance that divides by n, not by n - 1.
    spread = float(medians.std(ddof=1)) * math.sqrt(restarts / (restarts - 1))
    error = max(spread, _SMALLEST_ERROR)
    return Effect(float(np.median(ratios)), error, restarts - 1)


def unpaired_effect(base: np.ndarray, head: np.ndarray, seed: int = 0) -> Effect:
    """The effect between log-times (restarts, samples) that were not measured in turn."""
    one, other = paired_effect(base, seed), paired_effect(head, seed + 1)
    return Effect(
        other.estimate - one.estimate,
        math.hypot(one.error, other.error),
        one.freedom + other.freedom,
    )


def judge(
    effects: Mapping[str, tuple[Effect, Effect]], criterion: Criterion, paths: int | None = None
) -> dict[str, Verdict]:
    """The verdict on each path, given head's effect and the control's.

    ``paths`` is how many share the error rate; by default those that are judged here.
    """
    count = len(effects) if paths is None else paths
    joined = {name: _joined(*pair) for name, pair in effects.items()}
    changed = _holm(
        {n: _p_changed(e, criterion) for n, e in joined.items()}, _at(criterion, "alpha"), count
    )
    return {
        name: _verdict(effects[name], joined[name], criterion, changed=name in changed)
        for name in effects
    }


def no_verdict(head: Effect, control: Effect, why: str) -> Verdict:
    """An inconclusive verdict with its numbers."""
    joined = _joined(head, control)
    return Verdict(INCONCLUSIVE, *_ratio(joined), *_ratio(control), why)


def _joined(head: Effect, control: Effect) -> Effect:
    """The effect with the error that it and the control show together, or its own if larger."""
    pooled = math.sqrt((head.error**2 + control.error**2) / 2)
    return Effect(head.estimate, max(head.error, pooled), head.freedom + control.freedom)


def _verdict(
    pair: tuple[Effect, Effect], effect: Effect, criterion: Criterion, *, changed: bool
) -> Verdict:
    control = pair[1]
    numbers = (*_ratio(effect), *_ratio(control))
    if abs(control.estimate) > criterion.margin / 2:
        why = f"too much noise: base differs from itself by {_percent(control.estimate)}"
        return Verdict(INCONCLUSIVE, *numbers, why)
    if changed:
        return Verdict("slower" if effect.estimate > 0 else "faster", *numbers)
    if _p_unchanged(effect, criterion) <= _at(criterion, "alpha_no_change"):
        return Verdict("no change", *numbers)
    why = f"too few samples to say whether the change exceeds {100 * criterion.threshold:g} %"
    return Verdict(INCONCLUSIVE, *numbers, why)


def _at(criterion: Criterion, rate: str) -> float:
    alpha: float = getattr(criterion, rate)
    return alpha / 2**criterion.look


def _p_changed(effect: Effect, criterion: Criterion) -> float:
    """Against a change of at most the threshold, in the direction that is seen; both count."""
    beyond = abs(effect.estimate) - criterion.margin
    return min(1.0, 2 * _survival(beyond / effect.error, effect.freedom))


def _p_unchanged(effect: Effect, criterion: Criterion) -> float:
    """Against a change of at least the threshold (two one-sided tests, Schuirmann 1987)."""
    within = criterion.margin - abs(effect.estimate)
    return _survival(within / effect.error, effect.freedom)


def _survival(value: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.sf(value, freedom))


def _holm(p_values: Mapping[str, float], alpha: float, count: int) -> set[str]:
    """The names whose hypothesis is rejected (Holm, Scandinavian Journal of Statistics, 1979)."""
    rejected: set[str] = set()
    for name in sorted(p_values, key=lambda one: p_values[one]):
        if p_values[name] > alpha / (count - len(rejected)):
            break
        rejected.add(name)
    return rejected


def _ratio(effect: Effect) -> tuple[float, float, float]:
    from scipy.stats import t

    half = float(t.ppf(0.975, effect.freedom)) * effect.error
    middle = effect.estimate
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def _percent(log_ratio: float) -> str:
    return f"{100 * abs(math.expm1(log_ratio)):.1f} %"
