"""Whether head is slower than base: two recordings, or two sides measured in turn."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cxrbench.errors import SettingsError
from cxrbench.interfaces import Display
from cxrbench.output.files import write_text
from cxrbench.output.show import plain
from cxrbench.perf.comparison import (
    BASE,
    CONTROL,
    HEAD,
    Absence,
    GateSettings,
    SpeedComparison,
)
from cxrbench.perf.counting import INSTRUCTIONS, CountedProcess, counted, require_valgrind
from cxrbench.perf.process import Work
from cxrbench.perf.recordings import compare_recordings, find_recording, with_paths
from cxrbench.perf.samples import Samples, this_machine
from cxrbench.perf.sampling import FIRST_RESTARTS, ROUNDS, Restart, Schedule, Turn, restart
from cxrbench.perf.sides import Side, find_side
from cxrbench.perf.verdict import (
    INCONCLUSIVE,
    Criterion,
    Effect,
    Verdict,
    judge,
    no_verdict,
    paired_effect,
)
from cxrbench.perf.workload import chosen_paths, write_films_of

COUNTED_RESTARTS = COUNTED_ROUNDS = 2  # counts hardly differ from one restart to the next
QUICK_SECONDS = 60.0

_SIDES = ("base", "base", "head")


@dataclass(frozen=True)
class ComparisonRequest:
    """What to compare, on which paths and images, and where everything is kept.

    ``paths`` are those that are named; without any, a selection that ``quick`` makes smaller.
    """

    base: str
    head: str
    paths: tuple[str, ...]
    quick: bool
    data: str | None
    settings: GateSettings
    image_size: int
    batch_size: int
    cache: Path
    output: Path | None
    allow_cross_machine: bool


def compare(request: ComparisonRequest, display: Display) -> SpeedComparison:
    """Measure both sides, or read both recordings, and judge each path.

    Raises
    ------
    SettingsError : a side cannot be run, or one is a recording and the other is not.
    DataError : a recording or the images cannot be used.
    TimingError : a side's process cannot be started.
    """
    base, head = find_recording(request.base), find_recording(request.head)
    if base is not None and head is not None:
        base, head = with_paths((base, head), request.paths)
        comparison = compare_recordings(
            base, head, request.settings, allow_cross_machine=request.allow_cross_machine
        )
        if request.output is not None:
            _write(comparison, request.output)
        return comparison
    if base is not None or head is not None:
        raise SettingsError(
            "one side is a recording and the other is not",
            expected="two recordings, or two sides that are measured now",
            found=f"{request.base} and {request.head}",
            fix="record the other side too, with cxrbench perf record",
        )
    if request.settings.counts:
        require_valgrind()
    with ExitStack() as stack:
        films = Path(stack.enter_context(TemporaryDirectory()))
        write_films_of(request.data, films, request.cache, display)
        base_side, head_side = (
            find_side(text, Path.cwd(), request.cache, stack)
            for text in (request.base, request.head)
        )
        work = Work(films, network_size=request.image_size, batch_size=request.batch_size)
        output = request.output or _default_output(request.cache)
        display.say(f"samples: {output}")
        comparison = compare_sides(
            (base_side, head_side),
            chosen_paths(request.paths, quick=request.quick),
            work,
            request.settings,
            display,
            keep=lambda so_far: _write(so_far, output),
        )
        _write(comparison, output)
    return comparison


def _default_output(cache: Path) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return cache / "perf" / "comparisons" / f"{now}-{os.getpid()}.json"


def _write(comparison: SpeedComparison, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(plain(comparison.to_json())) + "\n")


def compare_sides(
    sides: tuple[Side, Side],
    paths: Sequence[str],
    work: Work,
    settings: GateSettings,
    display: Display,
    keep: Callable[[SpeedComparison], None],
) -> SpeedComparison:
    """Measure two sides in turn on this machine, and judge every path.

    Each path has at least `FIRST_RESTARTS` times `ROUNDS` pairs of samples (of counts, fewer).
    Those without a verdict then are measured on, until they have one or the budget is spent.
    ``keep`` is called with the result so far after every restart. Ctrl-C ends the measurement;
    complete samples are judged.

    Raises
    ------
    TimingError : a side's process cannot be started.
    """
    first = COUNTED_RESTARTS if settings.counts else FIRST_RESTARTS
    course = _Course(
        _nothing_yet(sides, settings),
        tuple(paths),
        _schedule(sides, work, settings),
        first,
        time.monotonic(),
    )
    with display.task("comparing", len(paths) * first) as advance:
        while course.open and not course.result.interrupted:
            course = _judged(_measured(course, keep, advance))
            if course.spent() > settings.budget:
                break
    return course.result


def _nothing_yet(sides: tuple[Side, Side], settings: GateSettings) -> SpeedComparison:
    base, head = sides
    notes = [side.note for side in sides if side.note]
    if base.commit and base.commit == head.commit:
        notes.append("base and head are the same commit")
    return SpeedComparison(
        base=base.description,
        head=head.description,
        commits=(base.commit, head.commit),
        settings=settings,
        machine=this_machine(),
        versions=({}, {}),
        samples=Samples(clocks=(INSTRUCTIONS,)) if settings.counts else Samples(),
        verdicts={},
        absent={},
        notes=tuple(notes),
    )


def _schedule(sides: tuple[Side, Side], work: Work, settings: GateSettings) -> Schedule:
    """Base twice, the second time as its own control, and head."""
    base, head = (side.environment for side in sides)
    turns = (Turn(BASE), Turn(CONTROL), Turn(HEAD))
    if settings.counts:
        environments = tuple(map(counted, (base, base, head)))
        return Schedule(environments, turns, COUNTED_ROUNDS, work, CountedProcess, (INSTRUCTIONS,))
    return Schedule((base, base, head), turns, ROUNDS, work)


@dataclass(frozen=True, eq=False)
class _Course:
    """Where a comparison stands: ``open`` paths have no verdict yet.

    The first look at the samples comes after ``first`` restarts; each next one doubles them.
    """

    result: SpeedComparison
    open: tuple[str, ...]
    schedule: Schedule
    first: int
    since: float
    look: int = 1
    restarts: int = 0

    def spent(self) -> float:
        return time.monotonic() - self.since

    def __str__(self) -> str:
        return f"{self.restarts} restarts, {len(self.open)} open, {self.spent():.0f} s"


def _measured(
    course: _Course, keep: Callable[[SpeedComparison], None], advance: Callable[..., None]
) -> _Course:
    """Restart until the next look, or until the time is up; the first look is always made."""
    until = course.first * 2 ** (course.look - 1)
    while course.restarts < until and course.open:
        is_first = course.restarts < course.first
        if not is_first and course.spent() > course.result.settings.budget:
            break
        known = course.result.samples.calls
        try:
            one = restart(course.schedule, course.open, known, seed=course.restarts)
        except KeyboardInterrupt:
            return replace(course, result=replace(course.result, interrupted=True))
        course = _with(course, one)
        keep(course.result)
        advance(len(course.open) if is_first else 0, str(course))
    return course


def _with(course: _Course, one: Restart) -> _Course:
    absent = dict(course.result.absent)
    for path, troubles in one.troubles.items():
        absences = (Absence(_SIDES[t.environment], t.state, t.error) for t in troubles)
        absent[path] = tuple(dict.fromkeys(absences))
    result = replace(
        course.result,
        samples=course.result.samples.with_restart(one).without(absent),
        absent=absent,
        versions=(one.versions[BASE], one.versions[HEAD]),
        seconds=course.spent(),
    )
    left = tuple(path for path in course.open if path not in absent)
    return replace(course, result=result, open=left, restarts=course.restarts + 1)


def _judged(course: _Course) -> _Course:
    result = course.result
    criterion = Criterion(threshold=result.settings.threshold, look=course.look)
    measured = [path for path in course.open if len(result.samples.seconds.get(path, ())) > 1]
    effects = {path: _effects(result.samples, path, result.settings.clock) for path in measured}
    new: Mapping[str, Verdict]
    if result.interrupted:
        new = {path: no_verdict(*effects[path], "interrupted") for path in measured}
    else:
        new = judge(effects, criterion, paths=len(result.samples.seconds))
    verdicts = {**result.verdicts, **new}
    # In the order in which paths were measured, whenever they were decided.
    ordered = {path: verdicts[path] for path in result.samples.seconds if path in verdicts}
    left = tuple(path for path in measured if verdicts[path].state == INCONCLUSIVE)
    result = replace(result, verdicts=ordered, seconds=course.spent())
    return replace(course, result=result, open=left, look=course.look + 1)


def _effects(samples: Samples, path: str, clock: str) -> tuple[Effect, Effect]:
    logs = samples.logs(path, clock)
    return (
        paired_effect(logs[..., HEAD] - logs[..., BASE]),
        paired_effect(logs[..., CONTROL] - logs[..., BASE]),
    )
