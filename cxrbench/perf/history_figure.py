"""Recorded hot paths over the recordings: a panel for each, a line for each machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.output.figure_style import look, small_multiples, styled, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrbench.perf.machine import Machine
    from cxrbench.perf.recordings import Recording

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
