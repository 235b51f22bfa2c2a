"""Recordings of hot paths over time, as tables, as JSON and as a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.output.figure_style import look, small_multiples, styled, write_figure
from cxrbench.output.sections import CellTable, Column, Section, text_column
from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrbench.perf.recordings import Recording
    from cxrbench.perf.samples import Machine

_COLUMNS = 3
_UNIT = "Median milliseconds of processor time per call."


@dataclass(frozen=True, eq=False)
class History:
    """The recordings of a file, oldest first."""

    recordings: Sequence[Recording]

    def sections(self) -> tuple[Section, ...]:
        """A row for each path, a column for each of the last recordings that fit."""
        most = max(1, (plain_console().width - 22) // 12)
        shown = self.recordings[-most:]
        notes = [_UNIT]
        if len(shown) < len(self.recordings):
            notes.append(
                f"The last {len(shown)} of {len(self.recordings)} recordings; "
                "--format json and csv show all."
            )
        if len({one.machine for one in self.recordings}) > 1:
            notes.append("Several machines: only compare recordings of the same machine.")
        return (Section("Recordings of hot paths", (_table(shown),), tuple(notes)),)

    def records(self) -> list[dict[str, Any]]:
        """One line for each path of each recording."""
        return [record for one in self.recordings for record in _records(one)]

    def to_json(self) -> list[dict[str, Any]]:
        """An object for each recording."""
        return [_as_json(one) for one in self.recordings]


@dataclass(frozen=True, eq=False)
class NewRecording:
    """A recording that was added to a file."""

    recording: Recording
    file: Path

    def sections(self) -> tuple[Section, ...]:
        """A row for each path, and the paths that could not be measured."""
        absent = (f"not recorded: {p}, {why}" for p, why in self.recording.absent.items())
        title = f"Added to {self.file}: {self.recording.side}"
        return (Section(title, (_table([self.recording]),), (*absent, _UNIT)),)

    def records(self) -> list[dict[str, Any]]:
        """One line for each path."""
        return list(_records(self.recording))

    def to_json(self) -> dict[str, Any]:
        """The recording, and the file."""
        return {"history": self.file, **_as_json(self.recording)}


def _medians(recording: Recording) -> dict[str, float]:
    """Milliseconds of processor time that a call takes, by path."""
    samples = recording.samples
    return {path: 1e3 * float(np.median(samples.by(path, "cpu"))) for path in samples.seconds}


def _table(recordings: Sequence[Recording]) -> CellTable:
    heads = (Column(f"{one.commit[:10] or '–'}\n{one.time[:10]}") for one in recordings)
    medians = [_medians(one) for one in recordings]
    rows = (
        (path, *(f"{known[path]:.3g}" if path in known else "–" for known in medians))
        for path in dict.fromkeys(path for known in medians for path in known)
    )
    return CellTable((text_column("path", 10), *heads), tuple(rows))


def _records(recording: Recording) -> Iterator[dict[str, Any]]:
    for path, milliseconds in _medians(recording).items():
        yield {
            "side": recording.side,
            "commit": recording.commit,
            "time": recording.time,
            "machine": recording.machine.node,
            "path": path,
            "milliseconds": milliseconds,
        }


def _as_json(recording: Recording) -> dict[str, Any]:
    return {
        **{"side": recording.side, "commit": recording.commit, "time": recording.time},
        "machine": recording.machine.to_json(),
        "versions": recording.versions,
        "milliseconds": _medians(recording),
        "not_measured": recording.absent,
    }


def write_history_figure(recordings: Sequence[Recording], path: Path) -> None:
    """Write the figure as ``.png`` or ``.svg``.

    Raises
    ------
    SettingsError : another ending, or the file cannot be written.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in ("png", "svg"):
        raise SettingsError(
            f"a figure cannot be written as {path.name!r}",
            expected="a name that ends with .png or .svg",
            found=path.suffix or "no ending",
        )
    write_figure(draw_history(recordings), path.parent, path.stem, [kind])


@styled()
def draw_history(recordings: Sequence[Recording]) -> Figure:
    """Medians of processor time with the interquartile range, oldest first."""
    paths = list(dict.fromkeys(path for one in recordings for path in one.samples.seconds))
    machines = list(dict.fromkeys(one.machine for one in recordings))
    title = f"Hot paths in {len(recordings)} recordings · processor time per call"
    figure, panels = small_multiples(
        f"{title}\nline: median; bar: interquartile range of the samples",
        len(paths),
        columns=_COLUMNS,
        panel_height=1.5,
        x="recording",
        y="ms",
    )
    for axes, path in zip(panels, paths, strict=True):
        axes.set_title(path)
        for number, machine in enumerate(machines):
            _draw(axes, recordings, path, machine, number)
        _mark_commits(axes, recordings)
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        axes.margins(x=0.15)
    if len(machines) > 1:
        panels[0].legend([machine.node for machine in machines], loc="lower left")
    return figure


def _draw(
    axes: Axes, recordings: Sequence[Recording], path: str, machine: Machine, number: int
) -> None:
    known = [
        (place, np.percentile(1e3 * one.samples.by(path, "cpu"), [25, 50, 75]))
        for place, one in enumerate(recordings)
        if one.machine == machine and path in one.samples.seconds
    ]
    if not known:
        return
    places = [place for place, _ in known]
    low, middle, high = np.array([quartiles for _, quartiles in known]).T
    axes.errorbar(
        places,
        middle,
        yerr=[middle - low, high - middle],
        marker="o",
        markersize=2.5,
        elinewidth=0.8,
        **look(number),
    )


def _mark_commits(axes: Axes, recordings: Sequence[Recording]) -> None:
    """Commits below the panel, as many as there is room for."""
    step = math.ceil(len(recordings) / 3)
    places = range(0, len(recordings), step)
    axes.set_xticks(list(places), [recordings[place].commit[:7] or "–" for place in places])
