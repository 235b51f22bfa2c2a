"""From the names that a user types to rows: run directories, or recipes with all their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrbench.errors import RunError
from cxrbench.output.sections import count_or_unknown
from cxrbench.runs.run import Run, read_run, read_runs


def find_row(text: str, runs: Path) -> tuple[Run, ...]:
    """The seeds of the row that ``text`` names: a run directory alone, or a recipe with all seeds.

    A run directory is a path, or a name below ``runs``. A recipe is as the board writes it.

    Raises
    ------
    RunError : there is no such run or recipe, or several rows have this recipe.
    """
    for path in (Path(text), runs / text):
        if path.is_dir():
            return (read_run(path),)
    complete, _ = read_runs(runs)
    rows: dict[tuple[str, str], list[Run]] = {}
    for run in complete:
        if run.conditions.recipe == text:
            rows.setdefault((run.conditions.board_key, run.row_key), []).append(run)
    if not rows:
        known = sorted({run.conditions.recipe for run in complete})
        raise RunError(
            f"there is no run and no recipe {text!r} in {runs}",
            expected="a run directory, or one of " + ", ".join(known) if known else None,
            found=f"{len(complete)} complete runs",
            fix="name one of these, or the folder with --runs",
        )
    if len(rows) > 1:
        raise RunError(
            f"{len(rows)} rows have the recipe {text!r}",
            expected="one row: the same settings, data, split, board and scoring",
            found="; ".join(
                ", ".join(run.name for run in row[:2]) + (", …" if len(row) > 2 else "")
                for row in rows.values()
            ),
            fix="name a run directory",
        )
    (row,) = rows.values()
    return tuple(sorted(row, key=lambda run: run.conditions.seed))


def require_one_board(a: Sequence[Run], b: Sequence[Run]) -> None:
    """Raise `RunError` unless both rows were scored on the same test images."""
    if a[0].conditions.board_key == b[0].conditions.board_key:
        return
    raise RunError(
        f"{a[0].path.name} and {b[0].path.name} were not scored on the same test images",
        expected="runs that share labels, test images, patients and their truth",
        found=f"{_told(a[0])}, and {_told(b[0])}",
        fix="run both on the same data and split",
    )


def _told(run: Run) -> str:
    conditions = run.conditions
    return (
        f"{run.test_images:,} images of {count_or_unknown(run.test_patients)} patients of "
        f"{conditions.dataset} (split {conditions.split}, seed {conditions.split_seed}, "
        f"{len(conditions.labels)} labels)"
    )
