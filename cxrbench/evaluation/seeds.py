"""What seeds add to an interval over patients: the uncertainty of a mean over a few of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def seed_variance(values: Sequence[float]) -> float:
    """Variance of the mean over seeds, s²/S, of S scores; 0 for one seed, which tells none."""
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0


def widened(
    estimate: float, interval: tuple[float, float], variance: float, *, level: float = 0.95
) -> tuple[float, float]:
    """An interval over patients joined with another, independent source of variance.

    Each side's distance from the estimate grows as standard errors add, so that an interval which
    is longer on one side stays so. One that leaves the estimate out, as that of a biased measure
    can, moves its bounds outwards by as much.
    """
    other = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    below, above = (abs(bound - estimate) for bound in interval)
    low, high = interval
    return low + below - math.hypot(below, other), high - above + math.hypot(above, other)
