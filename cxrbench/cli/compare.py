"""``cxrbench compare``: compare two rows of a leaderboard, in words and numbers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, complete_runs, takes

Row = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run directory or a recipe. A recipe stands for all its seeds.",
        autocompletion=complete_runs,
    ),
]


@takes("runs")
def compare(a: Row, b: Row, *, output_format: Format, **options: Any) -> None:
    """Compare two rows of a leaderboard on the same test images, in total and per label."""
    from cxrbench.boards.comparison import compare_rows
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.runs.selection import find_pair

    comparison = compare_rows(*find_pair(a, b, request_of(options).runs))
    show(comparison, output_format)
