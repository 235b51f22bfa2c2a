"""Whether head is slower than base, measured in turn until each path has a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cxrbench.interfaces import Display
from cxrbench.perf.counting import INSTRUCTIONS, CountedProcess, counted
from cxrbench.perf.process import Work
from cxrbench.perf.samples import Machine, Samples, this_machine
from cxrbench.perf.sampling import Restart, Schedule, Turn, restart
from cxrbench.perf.sides import Side
from cxrbench.perf.verdict import Criterion, Effect, Verdict, judge, no_verdict, paired_effect

FIRST_RESTARTS = 4
ROUNDS = 6
COUNTED_RESTARTS = COUNTED_ROUNDS = 2
BUDGET_SECONDS = 300.0
QUICK_SECONDS = 60.0

BASE, CONTROL, HEAD = range(3)
_SIDES = ("base", "base", "head")


@dataclass(frozen=True)
class Absent:
    """A path that was not compared: on which side, ``missing`` or ``failed``, and its error."""

    side: str
    state: str
    told: str


@dataclass(frozen=True)
class GateSettings:
    """What is asked of a comparison.

    ``clock`` is ``"cpu"``, processor time, ``"wall"``, or ``"instructions"``, which are counted.
    """

    threshold: float = 0.05
    budget: float = BUDGET_SECONDS
    clock: str = "cpu"

    @property
    def counts(self) -> bool:
        """Whether instructions are counted, and nothing is timed."""
        return self.clock == INSTRUCTIONS

    @property
    def first_restarts(self) -> int:
        """Restarts before the first look; counts hardly differ from one to the next."""
        return COUNTED_RESTARTS if self.counts else FIRST_RESTARTS


@dataclass(frozen=True, eq=False)
class SpeedComparison:
    """What was found. ``samples`` have three turns: base, base again as a control, and head."""

    base: str
    head: str
    commits: tuple[str, str]
    options: GateSettings
    machine: Machine
    versions: tuple[Mapping[str, str], Mapping[str, str]]
    samples: Samples
    verdicts: Mapping[str, Verdict]
    absent: Mapping[str, tuple[Absent, ...]]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False
    paired: bool = True

    def slower(self) -> tuple[str, ...]:
        """The paths that are."""
        return self.in_state("slower")

    def in_state(self, state: str) -> tuple[str, ...]:
        """The paths with this verdict."""
        return tuple(path for path, one in self.verdicts.items() if one.state == state)

    def failed(self) -> tuple[str, ...]:
        """The paths that could not be run on a side that has them, or that no side has."""
        return tuple(
            path
            for path, troubles in self.absent.items()
            if any(trouble.state != "missing" for trouble in troubles)
            or {trouble.side for trouble in troubles} == {"base", "head"}
        )

    def exit_code(self, *, cannot_tell_fails: bool) -> int:
        """0 pass, 1 a regression, 2 could not run."""
        if self.slower():
            return 1
        if self.failed() or not self.verdicts:
            return 2
        return int(cannot_tell_fails and bool(self.in_state("cannot tell")))


def compare_sides(
    sides: tuple[Side, Side],
    paths: Sequence[str],
    work: Work,
    options: GateSettings,
    display: Display,
    keep: Callable[[SpeedComparison], None],
) -> SpeedComparison:
    """Measure two sides in turn on this machine, and judge every path.

    Each path has at least `FIRST_RESTARTS` times `ROUNDS` pairs of samples (of counts, fewer).
    Those without a verdict then are measured on, until they have one or the budget is spent.
    ``keep`` is called with what there is after every restart. Ctrl-C ends the measurement; what is
    complete is judged.

    Raises
    ------
    TimingError : a side's process cannot be started.
    """
    base, head = sides
    plan = _plan(sides, work, options)
    begun = SpeedComparison(
        *(base.told, head.told, (base.commit, head.commit), options, this_machine(), ({}, {})),
        samples=Samples(clocks=plan.clocks),
        verdicts={},
        absent={},
        notes=tuple(side.note for side in sides if side.note),
    )
    with display.task("comparing", len(paths) * options.first_restarts) as advance:
        course = _Course(begun, tuple(paths), time.monotonic())
        while course.open and not course.found.interrupted:
            until = options.first_restarts * 2 ** (course.look - 1)
            course = _measured(course, plan, until, keep, advance)
            course = _judged(course)
            if course.spent() > options.budget:
                break
    return course.found


def _plan(sides: tuple[Side, Side], work: Work, options: GateSettings) -> Schedule:
    """Base twice, the second time as its own control, and head."""
    base, head = (side.environment for side in sides)
    turns = (Turn(BASE), Turn(CONTROL), Turn(HEAD))
    if options.counts:
        environments = tuple(map(counted, (base, base, head)))
        return Schedule(environments, turns, COUNTED_ROUNDS, work, CountedProcess, (INSTRUCTIONS,))
    return Schedule((base, base, head), turns, ROUNDS, work)


@dataclass(frozen=True, eq=False)
class _Course:
    """Where a comparison stands: ``open`` paths have no verdict yet."""

    found: SpeedComparison
    open: tuple[str, ...]
    since: float
    look: int = 1
    restarts: int = 0

    def spent(self) -> float:
        return time.monotonic() - self.since


def _measured(
    course: _Course,
    plan: Schedule,
    until: int,
    keep: Callable[[SpeedComparison], None],
    advance: Callable[..., None],
) -> _Course:
    """Restart until there are enough restarts, or the time is up; the first look is always made."""
    options = course.found.options
    while course.restarts < until and course.open:
        first = course.restarts < options.first_restarts
        if not first and course.spent() > options.budget:
            break
        try:
            one = restart(plan, course.open, course.found.samples.calls, seed=course.restarts)
        except KeyboardInterrupt:
            return replace(course, found=replace(course.found, interrupted=True))
        course = _with(course, one)
        keep(course.found)
        advance(len(course.open) if first else 0, _told(course))
    return course


def _with(course: _Course, one: Restart) -> _Course:
    found = course.found
    absent = dict(found.absent)
    for path, troubles in one.troubles.items():
        named = [(_SIDES[t.environment], t.state, t.told) for t in troubles]
        absent[path] = tuple(Absent(*told) for told in dict.fromkeys(named))
    found = replace(
        found,
        samples=found.samples.with_restart(one).without(absent),
        absent=absent,
        versions=(one.versions[BASE], one.versions[HEAD]),
        seconds=course.spent(),
    )
    left = tuple(path for path in course.open if path not in absent)
    return replace(course, found=found, open=left, restarts=course.restarts + 1)


def _judged(course: _Course) -> _Course:
    found = course.found
    rule = Criterion(threshold=found.options.threshold, look=course.look)
    measured = [path for path in course.open if len(found.samples.seconds.get(path, ())) > 1]
    effects = {path: _effects(found.samples, path, found.options.clock) for path in measured}
    told = judge(effects, rule, paths=len(found.samples.seconds))
    if found.interrupted:
        told = {path: no_verdict(*effects[path], "interrupted") for path in measured}
    left = tuple(path for path, one in told.items() if one.state == "cannot tell")
    # In the order in which paths were measured, whenever they were decided.
    verdicts = {**found.verdicts, **told}
    ordered = {path: verdicts[path] for path in found.samples.seconds if path in verdicts}
    found = replace(found, verdicts=ordered, seconds=course.spent())
    return replace(course, found=found, open=left, look=course.look + 1)


def _effects(samples: Samples, path: str, clock: str) -> tuple[Effect, Effect]:
    logs = samples.logs(path, clock)
    return (
        paired_effect(logs[..., HEAD] - logs[..., BASE]),
        paired_effect(logs[..., CONTROL] - logs[..., BASE]),
    )


def _told(course: _Course) -> str:
    return f"{course.restarts} restarts, {len(course.open)} open, {course.spent():.0f} s"


def as_json(found: SpeedComparison) -> dict[str, Any]:
    """Plain values, with all samples."""
    return {
        "format": 1,
        "base": {
            "side": found.base,
            "commit": found.commits[0],
            "versions": dict(found.versions[0]),
        },
        "head": {
            "side": found.head,
            "commit": found.commits[1],
            "versions": dict(found.versions[1]),
        },
        "machine": found.machine.to_json(),
        "threshold": found.options.threshold,
        "clock": found.options.clock,
        "budget_seconds": found.options.budget,
        "seconds": round(found.seconds, 1),
        "interrupted": found.interrupted,
        "notes": list(found.notes),
        "paths": {path: dict(one.__dict__) for path, one in found.verdicts.items()},
        "not_compared": {
            path: [dict(one.__dict__) for one in troubles]
            for path, troubles in found.absent.items()
        },
        "samples": found.samples.to_json(),
    }
