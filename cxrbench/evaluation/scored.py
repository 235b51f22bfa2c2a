"""From the names that a user gives to rows of one board, with what they scored on its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrbench.errors import RunError
from cxrbench.evaluation.comparison import Scored
from cxrbench.evaluation.predictions import Predictions, read_predictions
from cxrbench.runs import StoredRun, read_run, read_runs


def find_row(text: str, runs: Path) -> tuple[StoredRun, ...]:
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
    rows: dict[tuple[str, str], list[StoredRun]] = {}
    for run in complete:
        if run.info["recipe"] == text:
            rows.setdefault((run.info["board_key"], run.row_key), []).append(run)
    if not rows:
        known = sorted({run.info["recipe"] for run in complete})
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
                ", ".join(run.path.name for run in row[:2]) + (", …" if len(row) > 2 else "")
                for row in rows.values()
            ),
            fix="name a run directory",
        )
    (row,) = rows.values()
    return tuple(sorted(row, key=lambda run: run.info["seed"]))


def require_one_board(a: Sequence[StoredRun], b: Sequence[StoredRun]) -> None:
    """Raise `RunError` unless both rows were scored on the same test images."""
    if a[0].info["board_key"] == b[0].info["board_key"]:
        return
    raise RunError(
        f"{a[0].path.name} and {b[0].path.name} were not scored on the same test images",
        expected="runs that share labels, test images, patients and their truth",
        found=f"{_told(a[0])}, and {_told(b[0])}",
        fix="run both on the same data and split",
    )


def read_row(row: Sequence[StoredRun]) -> tuple[Scored, Predictions]:
    """What a row's seeds scored, from their predictions, and those of the first seed.

    Raises
    ------
    RunError : a run's predictions are missing, damaged or other than those that it wrote.
    """
    seeds = [read_predictions(run) for run in row]
    replicates = [run.replicates() for run in row]
    scored = Scored(
        name=row[0].info["recipe"],
        runs=tuple(run.path.name for run in row),
        y_score=np.stack([seed.y_score for seed in seeds]),
        macro=_metric(row, "macro_auroc"),
        micro=_metric(row, "micro_auroc"),
        macro_replicates=np.stack([arrays["macro_auroc"] for arrays in replicates]),
        micro_replicates=np.stack([arrays["micro_auroc"] for arrays in replicates]),
    )
    return scored, seeds[0]


def _metric(row: Sequence[StoredRun], name: str) -> np.ndarray:
    values = [run.metrics[name] for run in row]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _told(run: StoredRun) -> str:
    metrics, info = run.metrics, run.info
    patients = metrics["patients"] if run.patients_known else "unknown"
    return (
        f"{metrics['images']} images of {patients} patients of {info['dataset']} "
        f"(split {info['split']}, seed {info['split_seed']}, {len(info['labels'])} labels)"
    )
