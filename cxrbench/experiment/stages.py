"""The wall time of a run, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

SHARED = MappingProxyType({"start": "start-up", "prepare": "image preparation"})
"""The stages that the runs of a command share, with their names for people."""

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
"""All stages, in the order of a run."""


class Clock:
    """Wall time since its creation; ``laps`` are the seconds of the stages that ended."""

    def __init__(self) -> None:
        self._began = self._since = time.perf_counter()
        self.laps: dict[str, float] = {}

    def stop(self, stage: str) -> None:
        """End this stage: it took the time since the last stop, or since the clock was made."""
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

    The stages in ``own`` add up. ``other`` is the rest of ``elapsed``, the run's own wall time.
    """
    summed: dict[str, float] = {}
    for laps in own:
        for stage, seconds in laps.items():
            summed[stage] = summed.get(stage, 0.0) + seconds
    all_stages = {**shared, **summed, "other": max(0.0, elapsed - sum(summed.values()))}
    return {stage: all_stages[stage] for stage in STAGES if stage in all_stages}


def stages_text(seconds: Mapping[str, float]) -> str:
    """The stages that took at least 0.05 s, on one line; the shared ones last.

    Such as ``encode 3.0 s, train 40.2 s; shared by all runs: start-up 5.1 s, image preparation
    12.1 s``.
    """
    own = _listed({name: time for name, time in seconds.items() if name not in SHARED})
    shared = _listed({SHARED[name]: seconds[name] for name in SHARED if name in seconds})
    return (own or "under 0.1 s") + (f"; shared by all runs: {shared}" if shared else "")


def _listed(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {time:,.1f} s" for name, time in seconds.items() if time >= 0.05)
