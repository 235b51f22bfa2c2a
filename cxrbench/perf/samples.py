"""Measured samples of hot paths and the machine that they come from, also as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import DataError
from cxrbench.perf.process import CLOCKS
from cxrbench.perf.sampling import Restart

LEAST_RESTARTS = 4
"""Fewer do not show how much restarts differ, in either half of them."""


@dataclass(frozen=True, eq=False)
class Samples:
    """``seconds`` has for each path (restarts, rounds, turns, clocks): of a call, by ``clocks``.

    ``calls`` is how many calls a sample timed together, ``images`` on how many one of them works.
    """

    seconds: Mapping[str, np.ndarray] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    clocks: tuple[str, ...] = CLOCKS

    def with_restart(self, one: Restart) -> Samples:
        """These, and those of one restart more."""
        seconds = dict(self.seconds)
        for path, taken in one.seconds.items():
            known = [seconds[path]] if path in seconds else []
            seconds[path] = np.concatenate([*known, taken[None]])
        calls, images = {**self.calls, **one.calls}, {**self.images, **one.images}
        return replace(self, seconds=seconds, calls=calls, images=images)

    def without(self, paths: Iterable[str]) -> Samples:
        """These, but those of some paths."""
        left = {p: taken for p, taken in self.seconds.items() if p not in set(paths)}
        return replace(self, seconds=left)

    def by(self, path: str, clock: str) -> np.ndarray:
        """What a path's calls took (restarts, rounds, turns) by one clock."""
        return self.seconds[path][..., self.clocks.index(clock)]

    def logs(self, path: str, clock: str) -> np.ndarray:
        """Their logarithms."""
        logs: np.ndarray = np.log(np.maximum(self.by(path, clock), 1e-9))
        return logs

    def to_json(self) -> dict[str, Any]:
        """Plain values, seconds to nine digits."""
        return {
            path: {
                "calls": self.calls[path],
                "images": self.images[path],
                "clocks": list(self.clocks),
                "seconds": _rounded(taken.tolist()),
            }
            for path, taken in self.seconds.items()
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], turns: int) -> Samples:
        """Raises `DataError` for anything that `to_json` does not return."""
        try:
            seconds = {path: np.array(one["seconds"], np.float64) for path, one in fields.items()}
            calls = {path: int(one["calls"]) for path, one in fields.items()}
            images = {path: int(one["images"]) for path, one in fields.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _unusable(f"{type(error).__name__}: {error}") from error
        for path, taken in seconds.items():
            fits = taken.ndim == 4 and taken.shape[2:] == (turns, len(CLOCKS)) and taken.size
            if not fits or len(taken) < LEAST_RESTARTS:  # halves of them are compared
                raise _unusable(f"{path}: an array {taken.shape}")
            if not np.isfinite(taken).all() or (taken < 0).any():
                raise _unusable(f"{path}: negative or undefined seconds")
        return cls(seconds, calls, images)


def _rounded(values: Sequence[Any] | float) -> Any:
    if isinstance(values, float):
        return float(f"{values:.9g}")
    return [_rounded(value) for value in values]


def _unusable(found: str) -> DataError:
    return DataError(
        "the file has no samples of hot paths",
        expected="a file that cxrbench perf record wrote",
        found=found,
    )


@dataclass(frozen=True)
class Machine:
    """A machine. Times of two that differ in any field must not be compared."""

    node: str
    processor: str
    cores: int
    memory_mb: int
    system: str

    def to_json(self) -> dict[str, str | int]:
        """Plain values."""
        return asdict(self)


def this_machine() -> Machine:
    """The machine that this process runs on; ``cores`` are those that it may use."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        node=platform.node(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=pages // 2**20,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
