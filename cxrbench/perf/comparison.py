"""A comparison of two sides: the verdict on each path, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.output.sections import CellTable, Column, Section, text_column
from cxrbench.perf.counting import INSTRUCTIONS
from cxrbench.perf.samples import Machine, Samples
from cxrbench.perf.verdict import INCONCLUSIVE, Verdict

BUDGET_SECONDS = 300.0
BASE, CONTROL, HEAD = range(3)

_CLOCKS = {"cpu": "processor time", "wall": "wall time", INSTRUCTIONS: "instructions counted"}
_COLUMNS = (
    text_column("path", 12),
    text_column("verdict", 12),
    Column("change, %\n[95 % interval]"),
    Column("base"),
    Column("head"),
    Column("control\n(base vs\nbase)"),
    Column("pairs"),
)


@dataclass(frozen=True)
class Absence:
    """Why a path was not compared: on which side, ``missing`` or ``failed``, and its error."""

    side: str
    state: str
    error: str


@dataclass(frozen=True)
class GateSettings:
    """The change that matters, seconds for undecided paths, and what is compared.

    ``clock`` is ``"cpu"``, processor time, ``"wall"``, or ``"instructions"``, which are counted.
    """

    threshold: float = 0.05
    budget: float = BUDGET_SECONDS
    clock: str = "cpu"

    @property
    def counts(self) -> bool:
        """Whether instructions are counted, and nothing is timed."""
        return self.clock == INSTRUCTIONS


@dataclass(frozen=True, eq=False)
class SpeedComparison:
    """The result. ``samples`` have three turns: base, base again as a control, and head."""

    base: str
    head: str
    commits: tuple[str, str]
    settings: GateSettings
    machine: Machine
    versions: tuple[Mapping[str, str], Mapping[str, str]]
    samples: Samples
    verdicts: Mapping[str, Verdict]
    absent: Mapping[str, tuple[Absence, ...]]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False
    paired: bool = True

    def in_state(self, state: str) -> tuple[str, ...]:
        """The paths with this verdict."""
        return tuple(path for path, one in self.verdicts.items() if one.state == state)

    def failed(self) -> tuple[str, ...]:
        """The paths that could not be run on a side that has them, or that no side has."""
        return tuple(
            path
            for path, absences in self.absent.items()
            if any(absence.state != "missing" for absence in absences)
            or {absence.side for absence in absences} == {"base", "head"}
        )

    def exit_code(self, *, inconclusive_fails: bool) -> int:
        """0 pass, 1 a regression, 2 could not run."""
        if self.in_state("slower"):
            return 1
        if self.failed() or not self.verdicts:
            return 2
        return int(inconclusive_fails and bool(self.in_state(INCONCLUSIVE)))

    @property
    def outcome(self) -> str:
        """The whole result in one line."""
        slower, failed, unclear, faster = (
            ", ".join(paths)
            for paths in (
                self.in_state("slower"),
                self.failed(),
                self.in_state(INCONCLUSIVE),
                self.in_state("faster"),
            )
        )
        if slower:
            return f"Slower: {slower}"
        if failed:
            return f"Could not run: {failed}"
        if not self.verdicts:
            return "Nothing was compared"
        if len(self.in_state(INCONCLUSIVE)) == len(self.verdicts):
            return "Inconclusive for all paths"
        rest = (("inconclusive", unclear), ("faster", faster))
        return "; ".join(["No path is slower", *(f"{name}: {p}" for name, p in rest if p)])

    def sections(self) -> tuple[Section, ...]:
        """One table of the verdicts, with the conditions below it."""
        rows = tuple(self._row(path, verdict) for path, verdict in self.verdicts.items())
        return (Section(self.outcome, (CellTable(_COLUMNS, rows),), tuple(self._notes())),)

    def records(self) -> list[dict[str, Any]]:
        """One line for each path that was compared."""
        unit = "instructions" if self.settings.counts else "seconds"
        return [
            {
                "path": path,
                **verdict.__dict__,
                f"base_{unit}": self._median(path, BASE),
                f"head_{unit}": self._median(path, HEAD),
                "pairs": self._pairs(path),
            }
            for path, verdict in self.verdicts.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values, with all samples."""
        sides = zip((self.base, self.head), self.commits, self.versions, strict=True)
        base, head = (
            {"side": side, "commit": commit, "versions": dict(versions)}
            for side, commit, versions in sides
        )
        return {
            "format": 1,
            "base": base,
            "head": head,
            "machine": self.machine.to_json(),
            "threshold": self.settings.threshold,
            "clock": self.settings.clock,
            "budget_seconds": self.settings.budget,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "notes": list(self.notes),
            "paths": {path: dict(one.__dict__) for path, one in self.verdicts.items()},
            "not_compared": {
                path: [{"side": a.side, "state": a.state, "told": a.error} for a in absences]
                for path, absences in self.absent.items()
            },
            "samples": self.samples.to_json(),
        }

    def _median(self, path: str, turn: int) -> float:
        return float(np.median(self.samples.by(path, self.settings.clock)[..., turn]))

    def _pairs(self, path: str) -> int:
        restarts, rounds = self.samples.seconds[path].shape[:2]
        return restarts * rounds

    def _row(self, path: str, verdict: Verdict) -> tuple[str, ...]:
        half = 50 * (verdict.control_high - verdict.control_low)
        return (
            path,
            "inconclusive" if verdict.state == INCONCLUSIVE else verdict.state,
            f"{_percent(verdict.ratio)} [{_percent(verdict.low)}, {_percent(verdict.high)}]",
            *(self._cost(self._median(path, turn)) for turn in (BASE, HEAD)),
            f"{_percent(verdict.control)} ± {half:.1f}",
            str(self._pairs(path)),
        )

    def _cost(self, value: float) -> str:
        return f"{value / 1e6:.4g} M" if self.settings.counts else f"{1e3 * value:.3g} ms"

    def _notes(self) -> Iterator[str]:
        for path in self.in_state(INCONCLUSIVE):
            yield f"{path}: inconclusive: {self.verdicts[path].why}"
        for path, absences in self.absent.items():
            for absence in absences:
                yield f"{path}: not compared, {absence.state} on {absence.side}: {absence.error}"
        if self.interrupted:
            yield "Interrupted: only what was complete is shown."
        yield f"base: {self.base}"
        yield f"head: {self.head}"
        duration = f", measured for {self.seconds:.0f} s" if self.paired else ""
        yield (
            f"{self.machine.processor}, {self.machine.cores} cores, {self.machine.system}; "
            f"{_CLOCKS[self.settings.clock]}, one thread{duration}"
        )
        yield _version_line(*self.versions)
        yield from (f"note: {note}" for note in self.notes)
        threshold = f"{100 * self.settings.threshold:g} %"
        yield (
            f"slower, faster: by more than {threshold}, at an error rate of 1 % over all paths. "
            f"no change: by less than {threshold} in either direction. control: base measured "
            "against itself, its change and half of its 95 % interval."
        )


def _version_line(base: Mapping[str, str], head: Mapping[str, str]) -> str:
    if base == head:
        return ", ".join(f"{name} {version}" for name, version in base.items())
    differing = [
        f"{name} {base.get(name, 'not installed')} and {head.get(name, 'not installed')}"
        for name in {**base, **head}
        if base.get(name) != head.get(name)
    ]
    return f"DIFFERENT VERSIONS on base and head: {', '.join(differing)}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}"
