"""An estimate with its interval: the form in which all scores are stored and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxrbench.metrics.intervals import SeedScores, measure_interval

ENDS = ("", "_low", "_high")
"""The ends of the names of an estimate's columns."""


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its 95 % interval; NaN where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, measure: str, scores: SeedScores, patients: float) -> Estimate:
        """The mean over seeds with the interval of `measure_interval`."""
        return cls(scores.mean, *measure_interval(measure, scores, patients))

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
