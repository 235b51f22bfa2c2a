"""``cxrbench compare``: compare two rows of a leaderboard, in words and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Format, Json, OutputFormat, Runs, chosen_format

Row = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run directory or a recipe. A recipe stands for all its seeds."
    ),
]


def compare(
    a: Row,
    b: Row,
    runs: Runs = Path("runs"),
    output: OutputFormat = Format.table,
    as_json: Json = False,
) -> None:
    """Compare two rows of a leaderboard on the same test images, in total and per label."""
    from cxrbench.boards.comparison import compare_rows
    from cxrbench.output.show import show
    from cxrbench.runs.selection import find_pair

    comparison = compare_rows(*find_pair(a, b, runs))
    show(comparison, chosen_format(output, as_json))
