"""From the names that a user gives to rows of one board, with what they scored on its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrbench.errors import RunError
from cxrbench.evaluation.comparison import Scored
from cxrbench.runs import StoredRun, read_run, read_runs, require_unchanged

PREDICTIONS_FILE = "predictions.parquet"


@dataclass(frozen=True, eq=False)
class TestSplit:
    """What all rows of a board share: truth (N, L), patients (N,), and which labels count (L,).

    Without ``patients_known`` the ``patients`` are the images.
    """

    __test__ = False  # no test of pytest's

    image_ids: tuple[str, ...]
    y_true: np.ndarray
    patients: np.ndarray
    patients_known: bool
    label_names: tuple[str, ...]
    counted: np.ndarray


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
            rows.setdefault((run.info["board_key"], run.info["row_key"]), []).append(run)
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
            expected="one row: the same settings, data, split and board",
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


def read_row(row: Sequence[StoredRun]) -> tuple[Scored, TestSplit]:
    """What a row's seeds scored, from their predictions, and the test split.

    Raises
    ------
    RunError : a run's predictions are missing, damaged or other than those that it wrote.
    """
    splits, scores = zip(*(_predictions(run) for run in row), strict=True)
    replicates = [run.replicates() for run in row]
    scored = Scored(
        name=row[0].info["recipe"],
        runs=tuple(run.path.name for run in row),
        y_score=np.stack(scores),
        macro=_metric(row, "macro_auroc"),
        micro=_metric(row, "micro_auroc"),
        macro_replicates=np.stack([arrays["macro_auroc"] for arrays in replicates]),
        micro_replicates=np.stack([arrays["micro_auroc"] for arrays in replicates]),
    )
    return scored, splits[0]


def _metric(row: Sequence[StoredRun], name: str) -> np.ndarray:
    values = [run.metrics[name] for run in row]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _predictions(run: StoredRun) -> tuple[TestSplit, np.ndarray]:
    """The test images in the order of their ids, and (N, L) what the run scored."""
    import pandas as pd

    require_unchanged(run, PREDICTIONS_FILE)
    table = pd.read_parquet(run.path / PREDICTIONS_FILE)
    table = table[table["split"] == "test"].sort_values("image", kind="stable")
    labels = tuple(run.info["labels"])
    split = TestSplit(
        image_ids=tuple(table["image"]),
        y_true=table[[f"y_true_{label}" for label in labels]].to_numpy(np.float32),
        # Where patients are unknown, images are what is drawn and compared.
        patients=table["patient" if run.patients_known else "image"].to_numpy(str),
        patients_known=run.patients_known,
        label_names=labels,
        counted=np.isin(labels, run.info["labels_counted"]),
    )
    return split, table[[f"y_score_{label}" for label in labels]].to_numpy(np.float64)


def _told(run: StoredRun) -> str:
    metrics, info = run.metrics, run.info
    patients = metrics["patients"] if run.patients_known else "unknown"
    return (
        f"{metrics['images']} images of {patients} patients of {info['dataset']} "
        f"(split {info['split']}, seed {info['split_seed']}, {len(info['labels'])} labels)"
    )
