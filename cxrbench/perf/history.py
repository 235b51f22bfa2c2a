"""Recordings of hot paths over time, as a table, as JSON and as a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from cxrbench.errors import SettingsError
from cxrbench.output.figure_style import look, small_multiples, styled, write_figure
from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrbench.perf.recordings import Recording
    from cxrbench.perf.samples import Machine


def medians(recording: Recording) -> dict[str, float]:
    """Milliseconds of processor time that a call takes, by path."""
    samples = recording.samples
    return {path: 1e3 * float(np.median(samples.by(path, "cpu"))) for path in samples.seconds}


def print_recording(recording: Recording, history: Path, *, as_json: bool) -> None:
    """What was added to a history."""
    if as_json:
        print(json.dumps({"history": str(history), **_plain(recording)}, indent=2))
        return
    out = plain_console()
    out.print(_table([recording]))
    for path, told in recording.absent.items():
        out.print(f"not recorded: {path}, {told}")
    out.print(f"\nadded to {history}: {recording.side}")


def print_history(recordings: Sequence[Recording], *, as_json: bool) -> None:
    """A row for each path, a column for each of the last recordings, oldest first."""
    if as_json:
        print(json.dumps([_plain(one) for one in recordings], indent=2))
        return
    out = plain_console()
    shown = recordings[-_most_columns(out.width) :]
    out.print(_table(shown))
    out.print("\nMedian milliseconds of processor time of a call.")
    if len(shown) < len(recordings):
        out.print(f"The last {len(shown)} of {len(recordings)} recordings; --json has all.")
    if len({one.machine for one in recordings}) > 1:
        out.print("They are from several machines: only those of one can be compared.")


def _most_columns(width: int) -> int:
    return max(1, (width - 22) // 12)


def _table(recordings: Sequence[Recording]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("path", overflow="fold", min_width=10)
    told = [medians(one) for one in recordings]
    for one in recordings:
        table.add_column(f"{one.commit[:10] or '–'}\n{one.time[:10]}", justify="right")
    for path in dict.fromkeys(path for known in told for path in known):
        table.add_row(path, *(f"{k[path]:.3g}" if path in k else "–" for k in told))
    return table


def _plain(recording: Recording) -> dict[str, Any]:
    return {
        **{"side": recording.side, "commit": recording.commit, "time": recording.time},
        "machine": recording.machine.to_json(),
        "versions": dict(recording.versions),
        "milliseconds": medians(recording),
        "not_measured": dict(recording.absent),
    }


_COLUMNS = 3


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
    """Medians of processor time with the middle half of the samples, oldest first."""
    paths = list(dict.fromkeys(path for one in recordings for path in one.samples.seconds))
    machines = list(dict.fromkeys(one.machine for one in recordings))
    title = f"Hot paths over {len(recordings)} recordings · a call's processor time"
    figure, panels = small_multiples(
        f"{title}\nline: median; bar: the middle half of the samples",
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
    low, middle, high = np.array([told for _, told in known]).T
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
