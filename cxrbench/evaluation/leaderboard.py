"""Boards and their rows, from run directories alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from cxrbench.evaluation.bootstrap import mean_over_seeds, percentile_interval
from cxrbench.evaluation.patients import UNKNOWN_PATIENTS
from cxrbench.evaluation.ranking import ranks
from cxrbench.runs import SkippedRun, StoredRun


@dataclass(frozen=True)
class Row:
    """A recipe with its settings, over its seeds; every score is the mean of the seeds' scores.

    The names of the fields are the columns of the CSV and the keys of the JSON. AUROCs are shares;
    ``_low`` and ``_high`` bound the 95 % interval over patients (``intervals_over`` says where it
    is over images); ``macro_auroc_sd`` is the standard
    deviation over seeds, None for one seed. ``trains`` says which layers do. ``train_seconds`` and
    ``images_per_second`` are of the training steps alone: without preparing, embedding or
    validating. ``board`` is the key of the board, and ``runs`` are the names of run directories.
    """

    rank: int | None
    recipe: str
    macro_auroc: float | None
    macro_auroc_low: float | None
    macro_auroc_high: float | None
    macro_auroc_sd: float | None
    macro_auroc_findings: float | None
    macro_auroc_findings_low: float | None
    macro_auroc_findings_high: float | None
    micro_auroc: float | None
    micro_auroc_low: float | None
    micro_auroc_high: float | None
    mean_ap: float | None
    micro_ap: float | None
    intervals_over: str
    labels_counted: int
    parameters: int
    trainable_parameters: int
    train_seconds: float | None
    images_per_second: float | None
    seeds: int
    protocol: str
    weights: str
    trains: str
    image_size: int | None
    backend: str
    device: str
    devices: int
    precision: str
    engine: str
    dataset: str
    fingerprint: str
    split: str
    split_seed: int
    train_images: int
    version: str
    board: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class LabelRow:
    """One label's scores in one row, the mean over its seeds; ``runs`` tells which row."""

    recipe: str
    label: str
    counted: bool
    positives: int
    known: int
    auroc: float | None
    average_precision: float | None
    threshold: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    board: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """Rows that share labels, test images, patients and their truth, best macro AUROC first.

    ``test_patients`` is None where patients are unknown. ``notes`` say what that means.
    """

    key: str
    labels: tuple[str, ...]
    labels_counted: tuple[str, ...]
    test_images: int
    test_patients: int | None
    rows: tuple[Row, ...]
    per_label: tuple[LabelRow, ...]

    @property
    def patients_known(self) -> bool:
        """Whether it is known whose images are whose."""
        return self.test_patients is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said with every score of this board."""
        return () if self.patients_known else (UNKNOWN_PATIENTS,)


def boards(runs: Iterable[StoredRun]) -> tuple[Board, ...]:
    """Sort runs into boards; those with the most rows come first."""
    by_board: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_board[run.info["board_key"]].append(run)
    made = [_board(key, members) for key, members in by_board.items()]
    return tuple(sorted(made, key=lambda board: (-len(board.rows), board.key)))


def as_json(made: Sequence[Board], skipped: Sequence[SkippedRun], *, per_label: bool) -> Any:
    """Plain values: an object with ``boards``, each with its conditions and its ``rows``."""
    return {
        "boards": [_plain_board(board, per_label) for board in made],
        "skipped": [{"run": run.path.name, "reason": run.reason} for run in skipped],
    }


def _plain_board(board: Board, per_label: bool) -> dict[str, Any]:
    told = {
        "key": board.key,
        "conditions": {
            "labels": list(board.labels),
            "labels_counted": list(board.labels_counted),
            "test_images": board.test_images,
            "test_patients": board.test_patients,
            "patients_known": board.patients_known,
        },
        "notes": list(board.notes),
        "rows": [_plain_row(row) for row in board.rows],
    }
    return (
        {**told, "per_label": [_plain_row(row) for row in board.per_label]} if per_label else told
    )


def _plain_row(row: Row | LabelRow) -> dict[str, Any]:
    return {**asdict(row), "runs": list(row.runs)}


def _board(key: str, runs: Sequence[StoredRun]) -> Board:
    by_row: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_row[run.info["row_key"]].append(run)
    groups = [sorted(group, key=lambda run: run.info["seed"]) for group in by_row.values()]
    replicates = [_replicates(group) for group in groups]
    estimates = [_mean(group, "macro_auroc") for group in groups]
    places = ranks(
        [math.nan if value is None else value for value in estimates],
        [arrays["macro_auroc"] for arrays in replicates],
    )
    order = sorted(
        range(len(groups)),
        key=lambda i: (places[i] is None, -(estimates[i] or 0.0), groups[i][0].info["recipe"]),
    )
    info = runs[0].info
    return Board(
        key=key,
        labels=tuple(info["labels"]),
        labels_counted=tuple(info["labels_counted"]),
        test_images=runs[0].metrics["images"],
        test_patients=runs[0].metrics["patients"] if runs[0].patients_known else None,
        rows=tuple(_row(groups[i], replicates[i], places[i]) for i in order),
        per_label=tuple(row for i in order for row in _label_rows(groups[i])),
    )


def _replicates(group: Sequence[StoredRun]) -> dict[str, np.ndarray]:
    seeds = [run.replicates() for run in group]
    return {name: mean_over_seeds([arrays[name] for arrays in seeds]) for name in seeds[0]}


def _row(group: Sequence[StoredRun], replicates: dict[str, np.ndarray], rank: int | None) -> Row:
    info = group[0].info
    values: dict[str, Any] = {field.name: info.get(field.name) for field in fields(Row)}
    for name, arrays in replicates.items():
        low, high = percentile_interval(arrays)
        values |= {
            name: _mean(group, name),
            f"{name}_low": _plain(low),
            f"{name}_high": _plain(high),
        }
    return Row(
        **values
        | {
            "rank": rank,
            "board": info["board_key"],
            "macro_auroc_sd": _deviation([run.metrics["macro_auroc"] for run in group]),
            "mean_ap": _mean(group, "macro_average_precision"),
            "micro_ap": _mean(group, "micro_average_precision"),
            "intervals_over": "patients" if group[0].patients_known else "images",
            "labels_counted": len(info["labels_counted"]),
            "train_seconds": _mean_of([run.info["train_seconds"] for run in group]),
            "images_per_second": _mean_of([run.info["images_per_second"] for run in group]),
            "seeds": len(group),
            "runs": tuple(run.path.name for run in group),
        }
    )


def _label_rows(group: Sequence[StoredRun]) -> Iterable[LabelRow]:
    tables = [run.metrics["labels"] for run in group]
    for rows in zip(*tables, strict=True):
        same = {name: rows[0][name] for name in ("label", "counted", "positives", "known")}
        means: dict[str, Any] = {
            name: _mean_of([row[name] for row in rows]) for name in rows[0] if name not in same
        }
        info, names = group[0].info, tuple(run.path.name for run in group)
        yield LabelRow(recipe=info["recipe"], board=info["board_key"], runs=names, **same, **means)


def _mean(group: Sequence[StoredRun], name: str) -> float | None:
    return _mean_of([run.metrics[name] for run in group])


def _mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None when one is undefined, for the mean of the others is another quantity."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) == len(values) > 1 else None


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
