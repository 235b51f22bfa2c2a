"""Where the wall time of a run goes, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Mapping

SHARED = ("start", "prepare")
"""What the runs of a command share: each of them tells the same seconds."""

STAGES = (
    *SHARED,
    "batch-size",
    "encode",
    "assemble",
    "embed",
    "activations",
    "train",
    "predict",
    "score",
    "save",
    "other",
)
"""All stages, in the order in which a run comes to them."""


class Clock:
    """Wall time since it was made; ``laps`` are the seconds of the stages that were stopped."""

    def __init__(self) -> None:
        self._began = self._since = time.perf_counter()
        self.laps: dict[str, float] = {}

    def stop(self, stage: str) -> None:
        """What passed since the last stop, or since the clock was made, was this stage."""
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._since
        self._since = now

    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._began


def stage_seconds(
    shared: Mapping[str, float], own: tuple[Mapping[str, float], ...], elapsed: float
) -> dict[str, float]:
    """The seconds of all stages of a run, in their order.

    ``own`` add up; what is missing between them and ``elapsed``, the run's own wall time, is
    ``other``.
    """
    summed: dict[str, float] = {}
    for laps in own:
        for stage, seconds in laps.items():
            summed[stage] = summed.get(stage, 0.0) + seconds
    told = {**shared, **summed, "other": max(0.0, elapsed - sum(summed.values()))}
    return {stage: told[stage] for stage in STAGES if stage in told}


def stages_text(seconds: Mapping[str, float]) -> str:
    """One line of those that took long enough to be seen, what is shared apart.

    Such as ``encode 3.0 s · train 40.2 s (for all runs: start 5.1 s · prepare 12.1 s)``.
    """
    own = _listed({stage: told for stage, told in seconds.items() if stage not in SHARED})
    shared = _listed({stage: told for stage, told in seconds.items() if stage in SHARED})
    return (own or "under 0.1 s") + (f" (for all runs: {shared})" if shared else "")


def _listed(seconds: Mapping[str, float]) -> str:
    return " · ".join(f"{stage} {told:,.1f} s" for stage, told in seconds.items() if told >= 0.05)
