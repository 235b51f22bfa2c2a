"""``cxrbench compare``: one paired comparison, in words and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Json, Runs

Row = Annotated[
    str, typer.Argument(metavar="RUN", help="A run directory, or a recipe with all its seeds.")
]


def compare(a: Row, b: Row, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Compare two rows of a board on the same test images, in total and per label."""
    from cxrbench.boards.comparison import compare as compared
    from cxrbench.boards.comparison import read_row
    from cxrbench.boards.comparison_text import print_comparison
    from cxrbench.runs.selection import find_pair

    row_a, row_b = find_pair(a, b, runs)
    (scored_a, split), (scored_b, _) = read_row(row_a), read_row(row_b)
    comparison = compared(
        scored_a,
        scored_b,
        split.y_true,
        split.patients,
        label_names=split.label_names,
        counted=split.counted,
        patients_known=split.patients_known,
    )
    print_comparison(comparison, as_json=as_json)
