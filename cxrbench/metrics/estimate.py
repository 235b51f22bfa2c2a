"""An estimate with its interval: the form in which all scores are stored and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.metrics.bootstrap import percentile_interval
from cxrbench.metrics.resampling import seed_variance, widened

ENDS = ("", "_low", "_high")
"""The ends of the names of an estimate's columns."""


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its 95 % interval; NaN where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, value: float, replicates: np.ndarray) -> Estimate:
        """The value with the interval of its bootstrap replicates (B,)."""
        return cls(float(value), *percentile_interval(replicates))

    def columns(self, name: str) -> dict[str, float]:
        """The columns of a table: ``NAME``, ``NAME_low`` and ``NAME_high``."""
        values = (self.value, self.low, self.high)
        return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}

    def to_json(self, name: str) -> dict[str, Any]:
        """The keys of a run's JSON files: ``NAME`` and ``NAME_interval``; None where undefined."""
        value = None if math.isnan(self.value) else self.value
        interval = None if math.isnan(self.low) else [self.low, self.high]
        return {name: value, f"{name}_interval": interval}


UNDEFINED = Estimate(math.nan)


def read_estimate(values: Mapping[str, Any], name: str) -> Estimate:
    """The estimate that `Estimate.to_json` wrote."""
    value = values.get(name)
    bounds = values.get(f"{name}_interval") or (math.nan, math.nan)
    return Estimate(math.nan if value is None else value, *bounds)


def mean_estimate(values: Sequence[float], replicates: np.ndarray) -> Estimate:
    """The mean of a share over seeds; its interval includes the variance between them.

    ``replicates`` (B,) are the means of the seeds' replicates.
    """
    mean = float(np.mean(values))
    low, high = widened(mean, percentile_interval(replicates), seed_variance(values))
    # The variance between seeds knows nothing of the limits of a share.
    return Estimate(mean, max(low, 0.0), min(high, 1.0))
