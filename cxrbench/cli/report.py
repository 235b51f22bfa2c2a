"""``cxrbench report``: one HTML file about rows of a leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import BoardRows, Json, Literature, takes


@takes(
    *("runs", "cache", "threads"),
    data="Folder or dataset with the images. [default: where the run found them]",
    device="Device that explains the images. [default: auto]",
)
def report(
    rows: BoardRows = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")
    ] = Path("report.html"),
    cases: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=1000,
            help="Number of test images of each kind to show; 0 for none.",
        ),
    ] = 3,
    literature: Literature = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Write one HTML file: leaderboard, tests, curves, subgroups, calibration and single images.

    The file needs no network and no other file. All rows must be on one leaderboard. All scores
    are computed from the predictions again; runs whose scores differ are left out.
    """
    from functools import partial

    from cxrbench.boards.figures.rows import choose_rows, control_runs
    from cxrbench.boards.report.cases import Viewing, cases_chapter
    from cxrbench.boards.report.page import gather_report, write_report
    from cxrbench.output.display import new_display
    from cxrbench.request import request_of

    display, request = new_display(), request_of(options)
    selection = choose_rows(rows or (), request.runs, display, verify=True)
    viewing = Viewing(cases, request.data, request.device, request.cache, request.thread_count)
    document = gather_report(
        selection,
        partial(cases_chapter, viewing=viewing, display=display),
        controls=control_runs(selection, request.runs, display),
        literature=literature or "",
        display=display,
    )
    write_report(document, output)
    typer.echo(json.dumps({"file": str(output)}) if as_json else str(output))
