"""Boards and their rows, from run directories alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.boards.saliency_columns import (
    SALIENCY,
    SaliencyReference,
    row_saliency,
    saliency_references,
)
from cxrbench.metrics.estimate import ENDS, Estimate, read_estimate
from cxrbench.metrics.intervals import SeedScores
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import MIN_PATIENTS, UNKNOWN_PATIENTS, EffectivePatients
from cxrbench.metrics.ranking import ranks
from cxrbench.runs.additions import stored_latency
from cxrbench.runs.conditions import Conditions, RunKind
from cxrbench.runs.run import REPLICATES, Run
from cxrbench.runs.selection import Seeds, group_rows, row_scores

# The name of a measure in a row, where it is another than in a run.
_SHORT = {"macro_average_precision": "mean_ap", "micro_average_precision": "micro_ap"}
_IN_DETAILS = tuple(
    f"{kind}_{name}" for kind in ("macro", "micro") for name in MEASURES if name != "auroc"
)
_HEADLINES = (*REPLICATES, *_SHORT.values())

OTHER_MEASURES = tuple(name for name in _IN_DETAILS if name not in _SHORT)
"""The measures whose columns follow `ROW_COLUMNS`, each with ``_low`` and ``_high``."""

_FROM_CONDITIONS = (
    *("origin", "protocol", "head", "weights", "trains", "image_size"),
    *("backend", "device", "devices"),
    *("precision", "engine", "dataset", "fingerprint", "split", "split_seed", "train_images"),
    "version",
)


def _columns(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{end}" for name in names for end in ENDS)


ROW_COLUMNS = (
    *("rank", "recipe", *_columns("macro_auroc"), "macro_auroc_sd", *_columns(*_HEADLINES[1:])),
    *("intervals_over", "labels_counted", "parameters", "trainable_parameters", "train_seconds"),
    *("images_per_second", "latency_seconds", "seeds", *_FROM_CONDITIONS),
    *("calibration", "thresholds", "saliency_method", *_columns(*SALIENCY)),
    *("saliency_iou_threshold", "board", "runs"),
)
"""The columns of a row in CSV and its keys in JSON, before those of `OTHER_MEASURES`."""

LABEL_COLUMNS = ("recipe", "label", "counted", "positives", "known", "threshold", "board", "runs")
"""The same of a label's row, before those of `MEASURES`."""


@dataclass(frozen=True)
class Row:
    """A recipe with its settings, over its seeds; every value is the mean of the seeds' values.

    Parameters
    ----------
    conditions : those of the first seed.
    runs : the names of the run directories.
    measures : by name, such as ``macro_auroc``, ``micro_ap``, ``macro_brier`` and
        ``saliency_energy``. Intervals are over patients (over images where patients are unknown),
        joined with the variance between seeds where there are several.
    macro_auroc_sd : the standard deviation between seeds; NaN for one seed.
    train_seconds, images_per_second : of the training steps alone: without preparing, embedding or
        validating.
    latency_seconds : the time of one image from its file to its probabilities; None where it was
        not measured.
    saliency_method, saliency_iou_threshold : None where the saliency was not scored.
    has_intervals : False where a run was scored by a version that computed them otherwise.
    """

    rank: int | None
    conditions: Conditions
    runs: tuple[str, ...]
    measures: Mapping[str, Estimate]
    macro_auroc_sd: float
    train_seconds: float | None
    images_per_second: float | None
    latency_seconds: float | None
    saliency_method: str | None
    saliency_iou_threshold: float | None
    has_intervals: bool = True

    @property
    def recipe(self) -> str:
        """The canonical text of the recipe, or the name of a submission."""
        return self.conditions.recipe

    @property
    def kind(self) -> RunKind:
        """Whether a model was trained here, this is the prior, or predictions were submitted."""
        return self.conditions.kind

    @property
    def seeds(self) -> int:
        """The number of runs."""
        return len(self.runs)

    @property
    def parameters(self) -> int | None:
        """The number of parameters of the model; None where it is unknown."""
        return self.conditions.parameters

    def columns(self) -> dict[str, Any]:
        """The values of `ROW_COLUMNS`, then those of `OTHER_MEASURES`."""
        conditions = self.conditions
        values = {
            **{name: getattr(conditions, name) for name in _FROM_CONDITIONS},
            **conditions.scoring,
            **_flat(self.measures, (*_HEADLINES, *SALIENCY)),
            "rank": self.rank,
            "recipe": self.recipe,
            "macro_auroc_sd": self.macro_auroc_sd,
            "intervals_over": "patients" if conditions.patients_known else "images",
            "labels_counted": len(conditions.labels_counted),
            "parameters": self.parameters,
            "trainable_parameters": conditions.trainable_parameters,
            "train_seconds": self.train_seconds,
            "images_per_second": self.images_per_second,
            "latency_seconds": self.latency_seconds,
            "seeds": self.seeds,
            "saliency_method": self.saliency_method,
            "saliency_iou_threshold": self.saliency_iou_threshold,
            "board": conditions.board_key,
            "runs": self.runs,
        }
        columns = {name: values[name] for name in ROW_COLUMNS}
        return {**columns, **_flat(self.measures, OTHER_MEASURES)}


@dataclass(frozen=True)
class LabelRow:
    """One label's scores in one row, the mean over its seeds; ``runs`` says which row.

    ``scores`` are by measure, NaN where undefined; so is the ``threshold``.
    """

    recipe: str
    label: str
    counted: bool
    positives: int
    known: int
    threshold: float
    board: str
    runs: tuple[str, ...]
    scores: Mapping[str, Estimate]

    def columns(self) -> dict[str, Any]:
        """The values of `LABEL_COLUMNS`, then those of the measures."""
        columns = {name: getattr(self, name) for name in LABEL_COLUMNS}
        return {**columns, **_flat(self.scores, MEASURES)}


def _flat(measures: Mapping[str, Estimate], names: Iterable[str]) -> dict[str, float]:
    return {
        column: value for name in names for column, value in measures[name].columns(name).items()
    }


@dataclass(frozen=True)
class Board:
    """Rows that share labels, test images, patients and their truth, best macro AUROC first.

    ``test_patients`` is None where patients are unknown. ``labels_left_out`` are labels of the
    cohort that a submission has no predictions for. ``saliency_references`` stand beside the rows'
    saliency, if any row has it.
    """

    key: str
    labels: tuple[str, ...]
    labels_counted: tuple[str, ...]
    labels_left_out: tuple[str, ...]
    test_images: int
    test_patients: int | None
    rows: tuple[Row, ...]
    per_label: tuple[LabelRow, ...]
    saliency_references: tuple[SaliencyReference, ...] = ()

    @property
    def patients_known(self) -> bool:
        """Whether it is known whose images are whose."""
        return self.test_patients is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said with every score of this board."""
        left_out = f"Labels without predictions are left out: {', '.join(self.labels_left_out)}."
        unit = "patients" if self.patients_known else "images"
        few = f"No label counts: none has {MIN_PATIENTS} test {unit} with it and {MIN_PATIENTS} "
        few += "without it. Macro is undefined, and intervals are wide."
        stale = [run for row in self.rows if not row.has_intervals for run in row.runs]
        old = "intervals of an earlier version are not shown; `cxrbench score` computes them anew: "
        return (
            *(() if self.patients_known else (UNKNOWN_PATIENTS,)),
            *((old + ", ".join(stale),) if stale else ()),
            *(() if self.labels_counted else (few,)),
            *((left_out,) if self.labels_left_out else ()),
        )

    def to_json(self) -> dict[str, Any]:
        """The keys that docs/reference/leaderboard.md lists, without ``per_label``."""
        return {
            "key": self.key,
            "conditions": {
                "labels": self.labels,
                "labels_counted": self.labels_counted,
                "labels_left_out": self.labels_left_out,
                "test_images": self.test_images,
                "test_patients": self.test_patients,
                "patients_known": self.patients_known,
            },
            "notes": self.notes,
            "rows": [row.columns() for row in self.rows],
            "saliency_references": [one.to_json() for one in self.saliency_references],
        }


def boards(runs: Iterable[Run], *, per_label: bool = True) -> tuple[Board, ...]:
    """Sort runs into boards; those with the most rows come first.

    Without ``per_label`` their `Board.per_label` is empty, and less is read.
    """
    by_board: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_board[run.conditions.board_key].append(run)
    unsorted = [_board(key, members, per_label) for key, members in by_board.items()]
    return tuple(sorted(unsorted, key=lambda board: (-len(board.rows), board.key)))


def _board(key: str, runs: Sequence[Run], per_label: bool) -> Board:
    rows = group_rows(runs)
    scores = [row_scores(seeds, ("macro_auroc",))["macro_auroc"] for seeds in rows]
    means = [row.mean for row in scores]
    places = ranks(scores, runs[0].effective_patients("macro").of("auroc"))
    order = sorted(
        range(len(rows)),
        key=lambda i: (places[i] is None, -np.nan_to_num(means[i]), rows[i][0].conditions.recipe),
    )
    conditions, first = runs[0].conditions, runs[0]
    return Board(
        key=key,
        labels=conditions.labels,
        labels_counted=conditions.labels_counted,
        labels_left_out=conditions.labels_left_out,
        test_images=first.test_images,
        test_patients=first.test_patients,
        rows=tuple(_row(rows[i], places[i]) for i in order),
        per_label=tuple(row for i in order for row in _label_rows(rows[i])) if per_label else (),
        saliency_references=saliency_references(rows),
    )


def _measures(seeds: Seeds) -> dict[str, Estimate]:
    """The macro and micro measures of a row; replicates are read only to join seeds."""
    names = (*REPLICATES, *_IN_DETAILS)
    if not all(run.has_intervals for run in seeds):
        values = {n: [read_estimate(run.metrics, n).value for run in seeds] for n in names}
        return {name: Estimate(float(np.mean(value))) for name, value in values.items()}
    if len(seeds) == 1:
        return {name: read_estimate(seeds[0].metrics, name) for name in names}
    scores = row_scores(seeds, names)
    patients = {kind: seeds[0].effective_patients(kind) for kind in ("macro", "micro")}
    estimates = {}
    for name in names:
        kind, _, measure = name.removesuffix("_findings").partition("_")
        estimates[name] = Estimate.of(measure, scores[name], patients[kind].of(measure))
    return estimates


def _row(seeds: Seeds, rank: int | None) -> Row:
    saliency = row_saliency(seeds)
    conditions = [run.conditions for run in seeds]
    return Row(
        rank=rank,
        conditions=conditions[0],
        runs=tuple(run.name for run in seeds),
        measures={
            **{_SHORT.get(name, name): one for name, one in _measures(seeds).items()},
            **saliency.measures,
        },
        macro_auroc_sd=_deviation(_values(seeds, "macro_auroc")),
        train_seconds=_mean_of([one.train_seconds for one in conditions]),
        images_per_second=_mean_of([one.images_per_second for one in conditions]),
        latency_seconds=_mean_of([stored_latency(run) for run in seeds]),
        saliency_method=saliency.method,
        saliency_iou_threshold=saliency.iou_threshold,
        has_intervals=all(run.has_intervals for run in seeds),
    )


_SAME_IN_ALL_SEEDS = ("label", "counted", "positives", "known")


def _label_rows(seeds: Seeds) -> Iterable[LabelRow]:
    conditions, names = seeds[0].conditions, tuple(run.name for run in seeds)
    joined = len(seeds) > 1 and all(run.has_intervals for run in seeds)
    arrays = [f"label_{name}" for name in MEASURES]
    drawn = [run.details(arrays) for run in seeds] if joined else []
    for index, rows in enumerate(zip(*(run.labels for run in seeds), strict=True)):
        values = {name: np.array([_number(row[name]) for row in rows]) for name in MEASURES}
        if joined:
            patients = EffectivePatients.from_json(rows[0]["effective_patients"])
            scores = {}
            for name in MEASURES:
                replicates = np.stack([one[f"label_{name}"][index] for one in drawn])
                label = SeedScores(values[name], replicates)
                scores[name] = Estimate.of(name, label, patients.of(name))
        elif seeds[0].has_intervals and len(seeds) == 1:
            scores = {name: read_estimate(rows[0], name) for name in MEASURES}
        else:
            scores = {name: Estimate(float(np.mean(values[name]))) for name in MEASURES}
        yield LabelRow(
            recipe=conditions.recipe,
            board=conditions.board_key,
            runs=names,
            **{name: rows[0][name] for name in _SAME_IN_ALL_SEEDS},
            threshold=_number(_mean_of([row["threshold"] for row in rows])),
            scores=scores,
        )


def _values(seeds: Seeds, name: str) -> list[float]:
    return [_number(run.metrics[name]) for run in seeds]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None when one is undefined, for the mean of the others is another quantity."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
