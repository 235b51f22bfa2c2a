"""Recorded samples of one side: a history file with a line of JSON for each recording."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import DataError, SettingsError
from cxrbench.interfaces import Display
from cxrbench.output.files import lock_of, locked, write_bytes
from cxrbench.perf.comparison import Absence, GateSettings, SpeedComparison
from cxrbench.perf.process import Work
from cxrbench.perf.samples import Machine, Samples, this_machine
from cxrbench.perf.sampling import FIRST_RESTARTS, ROUNDS, Schedule, Turn, restart
from cxrbench.perf.sides import Side
from cxrbench.perf.verdict import Criterion, Effect, judge, unpaired_effect

FORMAT = 1
RESTARTS = 2 * FIRST_RESTARTS
"""More than the gate's first look needs, because a recording cannot be measured on later."""

SUFFIXES = (".json", ".jsonl")


@dataclass(frozen=True, eq=False)
class Recording:
    """The samples of one side, when and where they were measured. ``samples`` have one turn."""

    side: str
    commit: str
    time: str
    machine: Machine
    versions: Mapping[str, str]
    samples: Samples
    absent: Mapping[str, str]

    def line(self) -> str:
        """As a line of a file."""
        fields = {
            "format": FORMAT,
            **{"side": self.side, "commit": self.commit, "time": self.time},
            "machine": self.machine.to_json(),
            "versions": dict(self.versions),
            "not_measured": dict(self.absent),
            "paths": self.samples.to_json(),
        }
        return json.dumps(fields) + "\n"


def record_side(side: Side, paths: Sequence[str], work: Work, display: Display) -> Recording:
    """Measure one side alone.

    Raises
    ------
    SettingsError : no path can be measured.
    TimingError : its process cannot be started.
    """
    plan = Schedule((side.environment,), (Turn(0),), ROUNDS, work)
    samples, absent, left = Samples(), dict[str, str](), tuple(paths)
    versions: Mapping[str, str] = {}
    with display.task("recording", RESTARTS) as advance:
        for number in range(RESTARTS):
            one = restart(plan, left, samples.calls, seed=number)
            absent |= {path: f"{t[0].state}: {t[0].error}" for path, t in one.troubles.items()}
            samples, versions = samples.with_restart(one).without(absent), one.versions[0]
            left = tuple(path for path in left if path not in absent)
            advance(1)
    if not left:
        raise SettingsError(
            "no hot path can be measured",
            expected="at least one",
            found="; ".join(f"{path} {reason}" for path, reason in absent.items()),
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Recording(side.description, side.commit, now, this_machine(), versions, samples, absent)


def require_history(path: Path) -> None:
    """Raise `SettingsError` for a name that cannot be the name of a history file."""
    if path.suffix not in SUFFIXES:
        raise SettingsError(
            f"a history cannot be called {path.name!r}",
            expected=f"a name that ends with {' or '.join(SUFFIXES)}",
            found=path.suffix or "no ending",
        )


def append_recording(recording: Recording, path: Path) -> None:
    """Add a line, whole or not at all; two processes take turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked([lock_of(path)]):
        known = path.read_bytes() if path.is_file() else b""
        if known and not known.endswith(b"\n"):
            raise _damaged(path, known.count(b"\n") + 1, "a line without an end")
        write_bytes(path, known + recording.line().encode(), durable=True)


def read_recordings(path: Path) -> tuple[Recording, ...]:
    """All recordings of a file, oldest first.

    Raises
    ------
    DataError : the file cannot be read, is empty, or has a line that is no recording.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a file that cxrbench perf record wrote",
            found=str(error),
        ) from error
    if not lines:
        raise DataError(f"{path} holds no recording", fix="make one with cxrbench perf record")
    return tuple(_recording(line, path, number) for number, line in enumerate(lines, 1))


def find_recording(text: str) -> Recording | None:
    """The recording that ``FILE`` (its last) or ``FILE@COMMIT`` names; None for another text.

    Raises
    ------
    DataError : the file cannot be used, or has no recording of that commit.
    """
    name, at, commit = text.rpartition("@")
    if not at:
        name, commit = text, ""
    path = Path(name)
    if path.suffix not in SUFFIXES:
        return None
    recordings = read_recordings(path)
    chosen = [one for one in recordings if one.commit.startswith(commit)]
    if not chosen:
        commits = [one.commit[:10] or "none" for one in recordings[-8:]]
        raise DataError(
            f"{path} has no recording of {commit!r}",
            expected="the beginning of a commit's hash",
            found=f"recordings of {', '.join(commits)}",
        )
    return chosen[-1]


def with_paths(recordings: Sequence[Recording], paths: Sequence[str]) -> tuple[Recording, ...]:
    """The recordings with only these paths, or all where none are named.

    Raises
    ------
    SettingsError : no recording has one of them.
    """
    known = dict.fromkeys(path for one in recordings for path in one.samples.seconds)
    for path in paths:
        if path not in known:
            raise SettingsError(
                f"no recording has the path {path!r}", expected=", ".join(known), found=path
            )
    if not paths:
        return tuple(recordings)
    dropped = [path for path in known if path not in paths]
    return tuple(replace(one, samples=one.samples.without(dropped)) for one in recordings)


def compare_recordings(
    base: Recording, head: Recording, settings: GateSettings, *, allow_cross_machine: bool
) -> SpeedComparison:
    """Judge two recordings: less reliable than side by side, since they are of different times.

    The control is base's every second restart against the others.

    Raises
    ------
    SettingsError : they are from two machines, and that is not allowed, or instructions are asked
        for, which recordings do not hold.
    """
    if settings.counts:
        raise SettingsError(
            "recordings hold times, not instructions",
            expected="--clock cpu or --clock wall",
            found="--clock instructions",
            fix="choose one of these, or name two revisions, which are measured now",
        )
    notes = ["recorded at different times, so other load on the machine may differ"]
    if base.machine != head.machine:
        differing = _differing(base.machine, head.machine)
        if not allow_cross_machine:
            raise SettingsError(
                "the recordings are from two machines",
                expected="the same machine: times of two differ for reasons other than the code",
                found=differing,
                fix="record both on one machine, or add --allow-cross-machine",
            )
        notes.append(f"two machines: {differing}")
    common = [path for path in base.samples.seconds if path in head.samples.seconds]
    effects = {path: _effects(base, head, path, settings.clock) for path in common}
    sides = (("base", base), ("head", head))
    absent = {
        path: tuple(
            Absence(side, *_why(one, path))
            for side, one in sides
            if path not in one.samples.seconds
        )
        for path in dict.fromkeys([*base.samples.seconds, *head.samples.seconds])
        if path not in common
    }
    return SpeedComparison(
        base=f"{base.side}, recorded {base.time}",
        head=f"{head.side}, recorded {head.time}",
        commits=(base.commit, head.commit),
        settings=settings,
        machine=base.machine,
        versions=(base.versions, head.versions),
        samples=_side_by_side(base, head, common),
        verdicts=judge(effects, Criterion(threshold=settings.threshold)),
        absent=absent,
        notes=tuple(notes),
        paired=False,
    )


def _effects(base: Recording, head: Recording, path: str, clock: str) -> tuple[Effect, Effect]:
    before = base.samples.logs(path, clock)[..., 0]
    after = head.samples.logs(path, clock)[..., 0]
    control = unpaired_effect(before[::2], before[1::2])
    # Between halves of one recording, the error is larger than between two whole ones.
    return unpaired_effect(before, after), replace(control, error=control.error / math.sqrt(2))


def _side_by_side(base: Recording, head: Recording, paths: Sequence[str]) -> Samples:
    """Samples as a comparison has them: base, base again, head; cut to what both have."""
    seconds = {}
    for path in paths:
        one, other = base.samples.seconds[path], head.samples.seconds[path]
        restarts, rounds = min(len(one), len(other)), min(one.shape[1], other.shape[1])
        cut = (slice(restarts), slice(rounds))
        seconds[path] = np.concatenate([one[cut], one[cut], other[cut]], axis=2)
    return replace(base.samples, seconds=seconds)


def _why(recording: Recording, path: str) -> tuple[str, str]:
    state, _, error = recording.absent.get(path, "missing: not recorded").partition(": ")
    return state, error


def _differing(one: Machine, other: Machine) -> str:
    known, others = one.to_json(), other.to_json()
    return ", ".join(f"{k} {known[k]} and {others[k]}" for k in known if known[k] != others[k])


def _recording(line: str, path: Path, number: int) -> Recording:
    try:
        fields: dict[str, Any] = json.loads(line)
        if fields["format"] != FORMAT:
            raise _damaged(path, number, f"format {fields['format']}, and this is {FORMAT}")
        return Recording(
            side=str(fields["side"]),
            commit=str(fields["commit"]),
            time=str(fields["time"]),
            machine=Machine(**fields["machine"]),
            versions=dict(fields["versions"]),
            samples=Samples.from_json(fields["paths"], turns=1),
            absent=dict(fields["not_measured"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, number, f"{type(error).__name__}: {error}") from error


def _damaged(path: Path, number: int, found: str) -> DataError:
    return DataError(
        f"line {number} of {path} is no recording",
        expected="lines that cxrbench perf record wrote",
        found=found,
        fix="delete that line",
    )
