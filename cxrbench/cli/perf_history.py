"""``cxrbench perf history``: the recorded times of hot paths, commit by commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Format, takes
from cxrbench.cli.perf_record import HISTORY


@takes()
def history(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file that cxrbench perf record wrote.")
    ] = HISTORY,
    path: Annotated[
        list[str] | None,
        typer.Option("--path", metavar="NAME", help="Show only this path; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Also plot the history: FILE.png or FILE.svg.",
        ),
    ] = None,
    *,
    output_format: Format,
) -> None:
    """Show the time of each hot path in each recording of a history file."""
    from cxrbench.output.show import show
    from cxrbench.perf.history import History, write_history_figure
    from cxrbench.perf.recordings import read_recordings, with_paths

    recordings = with_paths(read_recordings(file), path or ())
    if output is not None:
        write_history_figure(recordings, output)
    show(History(recordings), output_format)
