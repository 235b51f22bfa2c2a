"""``cxrbench perf history``: how the recorded paths went over the commits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Json
from cxrbench.cli.perf_record import HISTORY


def history(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What cxrbench perf record wrote.")
    ] = HISTORY,
    path: Annotated[
        list[str] | None,
        typer.Option("--path", metavar="NAME", help="Only this path; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also plot it: FILE.png or FILE.svg."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the recorded paths over time: a line for each recording, and a plot."""
    from cxrbench.perf.history import print_history, write_history_figure
    from cxrbench.perf.recordings import read_recordings, with_paths

    found = with_paths(read_recordings(file), path or ())
    if output is not None:
        write_history_figure(found, output)
    print_history(found, as_json=as_json)
