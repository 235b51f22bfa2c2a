"""How often the rule is wrong on drawn noise, where a change is just the threshold.

    python benchmarks/gate/simulate.py

Restarts of six pairs with noise of their own, normal and heavy-tailed, and up to four looks.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from cxrbench.perf.sampling import FIRST_RESTARTS, ROUNDS
from cxrbench.perf.verdict import INCONCLUSIVE, Criterion, judge, paired_effect

COHORTS, LOOKS = 300, 4
BETWEEN, WITHIN, HEAVY = 0.005, 0.02, 0.015


def noise(rng: np.random.Generator, *, heavy: bool) -> np.ndarray:
    """Log-ratios (restarts, rounds) of what does not differ."""
    shape = (FIRST_RESTARTS * 2 ** (LOOKS - 1), ROUNDS)
    within = HEAVY * rng.standard_t(3, shape) if heavy else rng.normal(0, WITHIN, shape)
    drawn: np.ndarray = rng.normal(0, BETWEEN, (len(within), 1)) + within
    return drawn


def verdict(rng: np.random.Generator, *, heavy: bool) -> str:
    """The verdict of the first look that has one."""
    head, control = Criterion().margin + noise(rng, heavy=heavy), noise(rng, heavy=heavy)
    for look in range(1, LOOKS + 1):
        seen = slice(FIRST_RESTARTS * 2 ** (look - 1))
        effects = paired_effect(head[seen]), paired_effect(control[seen])
        state = judge({"path": effects}, Criterion(look=look))["path"].state
        if state != INCONCLUSIVE:
            return state
    return INCONCLUSIVE


def main() -> None:
    """A line for each kind of noise."""
    for heavy in (False, True):
        states = Counter(
            verdict(np.random.default_rng(seed), heavy=heavy) for seed in range(COHORTS)
        )
        print("heavy-tailed" if heavy else "normal", dict(states))


if __name__ == "__main__":
    main()
