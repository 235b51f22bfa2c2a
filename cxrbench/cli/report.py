"""``cxrbench report``: one HTML file about rows of a leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import BoardRows, Cache, Literature, Runs, Threads


def report(  # noqa: PLR0913 - each argument is an option of the command
    rows: BoardRows = None,
    runs: Runs = Path("runs"),
    output: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")] = Path(
        "report.html"
    ),
    cases: Annotated[
        int, typer.Option(min=0, help="Number of test images of each kind to show; 0 for none.")
    ] = 3,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Where the images are. \\[default: where the run found them]",
            show_default=False,
        ),
    ] = None,
    literature: Literature = False,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|gpu", help="Device that explains the images.")
    ] = "auto",
    cache: Cache = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the file name as JSON.")] = False,
) -> None:
    """Write one HTML file: leaderboard, tests, curves, subgroups, calibration and single images.

    The file needs no network and no other file. All rows must be on one leaderboard.
    """
    from functools import partial

    from cxrbench.boards.figures.rows import choose_rows, whole_board
    from cxrbench.boards.report.cases import Viewing, cases_chapter
    from cxrbench.boards.report.page import gather_report, write_report
    from cxrbench.output.display import RichDisplay
    from cxrbench.settings import thread_count
    from cxrbench.store.cache import cache_folder

    display = RichDisplay()
    chosen = choose_rows(rows or (), runs)
    board = whole_board(chosen, runs)
    viewing = Viewing(cases, data, device, cache_folder(cache), thread_count(threads))
    made = gather_report(
        chosen,
        board,
        partial(cases_chapter, chosen, viewing, display),
        literature=literature,
        display=display,
    )
    write_report(made, output)
    typer.echo(json.dumps({"file": str(output)}) if as_json else str(output))
