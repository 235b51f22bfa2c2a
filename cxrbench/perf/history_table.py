"""Recordings of hot paths as a table of a line each, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from cxrbench.perf.recordings import Recording


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
