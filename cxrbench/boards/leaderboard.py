"""Boards and their rows, from run directories alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from cxrbench.boards.saliency_columns import (
    SaliencyReference,
    saliency_columns,
    saliency_references,
)
from cxrbench.metrics.bootstrap import mean_over_seeds, percentile_interval
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import MIN_PATIENTS, UNKNOWN_PATIENTS
from cxrbench.metrics.ranking import ranks
from cxrbench.metrics.resampling import seed_variance, widened
from cxrbench.runs.additions import stored_latency
from cxrbench.runs.conditions import RunKind, kind_of
from cxrbench.runs.run import REPLICATES, Run, SkippedRun
from cxrbench.runs.selection import group_rows


@dataclass(frozen=True)
class Row:
    """A recipe with its settings, over its seeds; every score is the mean of the seeds' scores.

    The names of the fields are the columns of the CSV and the keys of the JSON. AUROCs are shares;
    ``_low`` and ``_high`` bound the 95 % interval over patients (``intervals_over`` says where it
    is over images), joined with the variance over seeds where there are several;
    ``macro_auroc_sd`` is the standard deviation over seeds, None for one seed. ``trains`` says
    which layers do. ``train_seconds`` and ``images_per_second`` are of the training steps alone:
    without preparing, embedding or validating. ``latency_seconds`` is the time of one image from
    its file to its probabilities, None where it was not measured. ``board`` is the key of the
    board, and ``runs`` are the names of run directories. ``origin`` is ``"cxrbench"``, or
    ``"external"`` for a submission, of whose model nothing is known. ``calibration`` and
    ``thresholds`` say what was fitted on the validation split. ``more`` holds the other measures,
    macro and micro, with their intervals:
    ``macro_brier``, ``macro_brier_low``, ``macro_brier_high`` and so on. In JSON and CSV they are
    columns as the others. The columns of saliency are macro means over labels with boxes, None
    where the runs' saliency was not scored.
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
    mean_ap_low: float | None
    mean_ap_high: float | None
    micro_ap: float | None
    micro_ap_low: float | None
    micro_ap_high: float | None
    intervals_over: str
    labels_counted: int
    parameters: int | None
    trainable_parameters: int | None
    train_seconds: float | None
    images_per_second: float | None
    latency_seconds: float | None
    seeds: int
    origin: str
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
    calibration: str
    thresholds: str
    saliency_method: str | None
    saliency_hit_rate: float | None
    saliency_hit_rate_low: float | None
    saliency_hit_rate_high: float | None
    saliency_energy: float | None
    saliency_energy_low: float | None
    saliency_energy_high: float | None
    saliency_iou: float | None
    saliency_iou_low: float | None
    saliency_iou_high: float | None
    saliency_iou_threshold: float | None
    board: str
    runs: tuple[str, ...]
    more: Mapping[str, float | None]

    @property
    def kind(self) -> RunKind:
        """Whether a model was trained here, this is the prior, or predictions were submitted."""
        return kind_of(self.recipe, self.origin)


@dataclass(frozen=True)
class LabelRow:
    """One label's scores in one row, the mean over its seeds; ``runs`` tells which row.

    ``scores`` holds every measure of `MEASURES` with its 95 % interval: ``auroc``, ``auroc_low``,
    ``auroc_high`` and so on. In JSON and CSV they are columns as the others.
    """

    recipe: str
    label: str
    counted: bool
    positives: int
    known: int
    threshold: float | None
    board: str
    runs: tuple[str, ...]
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Board:
    """Rows that share labels, test images, patients and their truth, best macro AUROC first.

    ``test_patients`` is None where patients are unknown. ``labels_left_out`` are labels of the
    cohort that a submission has no predictions for. ``notes`` say what that means.
    ``saliency_references`` stand beside the rows' saliency, if any row has it.
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
        left_out = f"labels without predictions are left out: {', '.join(self.labels_left_out)}"
        unit = "patients" if self.patients_known else "images"
        few = f"no label counts: none has {MIN_PATIENTS} test {unit} with it and {MIN_PATIENTS} "
        few += "without, so that macro is undefined and intervals are wide"
        return (
            *(() if self.patients_known else (UNKNOWN_PATIENTS,)),
            *(() if self.labels_counted else (few,)),
            *((left_out,) if self.labels_left_out else ()),
        )


def boards(runs: Iterable[Run], *, per_label: bool = True) -> tuple[Board, ...]:
    """Sort runs into boards; those with the most rows come first.

    Without ``per_label`` their `Board.per_label` is empty, and less is read.
    """
    by_board: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_board[run.conditions.board_key].append(run)
    made = [_board(key, members, per_label) for key, members in by_board.items()]
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
            "labels_left_out": list(board.labels_left_out),
            "test_images": board.test_images,
            "test_patients": board.test_patients,
            "patients_known": board.patients_known,
        },
        "notes": list(board.notes),
        "rows": [_plain_row(row) for row in board.rows],
        "saliency_references": [asdict(told) for told in board.saliency_references],
    }
    return (
        {**told, "per_label": [_plain_row(row) for row in board.per_label]} if per_label else told
    )


def _plain_row(row: Row | LabelRow) -> dict[str, Any]:
    return {**columns_of(row), "runs": list(row.runs)}


def columns_of(row: Row | LabelRow) -> dict[str, Any]:
    """Every column of a row by its name, with the measures that a mapping holds among them."""
    # Not asdict: it copies what it finds, which is most of the time that a large board takes.
    told = {field.name: getattr(row, field.name) for field in fields(row)}
    measures = told.pop("more" if isinstance(row, Row) else "scores")
    return {**told, **measures}


def column_names(*, per_label: bool) -> list[str]:
    """The names that `columns_of` gives, of rows or of labels' rows."""
    kind, mapping = (LabelRow, "scores") if per_label else (Row, "more")
    short = _AVERAGE_PRECISION
    measures = MEASURES if per_label else [name for name in _MORE if name not in short]
    own = [field.name for field in fields(kind) if field.name != mapping]
    return [*own, *(f"{name}{end}" for name in measures for end in _ENDS)]


def _board(key: str, runs: Sequence[Run], per_label: bool) -> Board:
    groups = group_rows(runs)
    replicates = [_replicates(group) for group in groups]
    estimates = [_mean(group, "macro_auroc") for group in groups]
    places = ranks(
        [math.nan if value is None else value for value in estimates],
        [arrays["macro_auroc"] for arrays in replicates],
        [seed_variance(_values(group, "macro_auroc")) for group in groups],
    )
    order = sorted(
        range(len(groups)),
        key=lambda i: (places[i] is None, -(estimates[i] or 0.0), groups[i][0].conditions.recipe),
    )
    first = runs[0]
    return Board(
        key=key,
        labels=first.conditions.labels,
        labels_counted=first.conditions.labels_counted,
        labels_left_out=first.conditions.labels_left_out,
        test_images=first.test_images,
        test_patients=first.test_patients,
        rows=tuple(_row(groups[i], replicates[i], places[i]) for i in order),
        per_label=tuple(row for i in order for row in _label_rows(groups[i])) if per_label else (),
        saliency_references=saliency_references(groups),
    )


def _replicates(group: Sequence[Run]) -> dict[str, np.ndarray]:
    """What seeds have to be joined of, and of one seed what its rank needs."""
    names = REPLICATES if len(group) > 1 else ("macro_auroc",)
    return _mean_arrays([run.replicates(names) for run in group])


def _mean_arrays(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: mean_over_seeds([arrays[name] for arrays in seeds]) for name in seeds[0]}


_AVERAGE_PRECISION = {"macro_average_precision": "mean_ap", "micro_average_precision": "micro_ap"}
"""What a row calls the scores whose names in a run are longer."""

_MORE = tuple(
    f"{kind}_{name}" for kind in ("macro", "micro") for name in MEASURES if name != "auroc"
)


def _row(group: Sequence[Run], replicates: dict[str, np.ndarray], rank: int | None) -> Row:
    conditions = group[0].conditions
    values: dict[str, Any] = {
        field.name: getattr(conditions, field.name, None) for field in fields(Row)
    }
    if len(group) > 1:
        for name, arrays in replicates.items():
            values |= _with_interval(name, _values(group, name), arrays)
    else:
        values |= _stored_intervals(group[0].metrics, REPLICATES)
    more = _more(group)
    for name, short in _AVERAGE_PRECISION.items():
        values |= {f"{short}{end}": more.pop(f"{name}{end}") for end in _ENDS}
    return Row(
        **values
        | {
            "rank": rank,
            "board": conditions.board_key,
            "macro_auroc_sd": _deviation([run.metrics["macro_auroc"] for run in group]),
            "intervals_over": "patients" if conditions.patients_known else "images",
            "labels_counted": len(conditions.labels_counted),
            "train_seconds": _mean_of([run.conditions.train_seconds for run in group]),
            "images_per_second": _mean_of([run.conditions.images_per_second for run in group]),
            "latency_seconds": _mean_of([stored_latency(run) for run in group]),
            "seeds": len(group),
            "runs": tuple(run.name for run in group),
            **conditions.scoring,
            **saliency_columns(group),
            "more": more,
        }
    )


_ENDS = ("", "_low", "_high")


def _more(group: Sequence[Run]) -> dict[str, float | None]:
    """The other measures of a row; replicates are read only where seeds have to be joined."""
    if len(group) == 1:
        return _stored_intervals(group[0].metrics, _MORE)
    found: dict[str, float | None] = {}
    replicates = _mean_arrays([run.details(_MORE) for run in group])
    for name, arrays in replicates.items():
        found |= _with_interval(name, _values(group, name), arrays)
    return found


def _stored_intervals(told: Mapping[str, Any], names: Iterable[str]) -> dict[str, float | None]:
    """Measures with the intervals that a run stored, of its one seed."""
    found: dict[str, float | None] = {}
    for name in names:
        low, high = told.get(f"{name}_interval") or (None, None)
        found |= {name: told.get(name), f"{name}_low": low, f"{name}_high": high}
    return found


def _with_interval(
    name: str, values: Sequence[float], replicates: np.ndarray
) -> dict[str, float | None]:
    """The mean over seeds and its interval, by the names of a row's fields."""
    mean = float(np.mean(values))
    low, high = widened(mean, percentile_interval(replicates), seed_variance(values))
    # Every measure is a share; the variance over seeds knows nothing of that.
    low, high = max(low, 0.0), min(high, 1.0)
    return {name: _plain(mean), f"{name}_low": _plain(low), f"{name}_high": _plain(high)}


_SAME_IN_ALL_SEEDS = ("label", "counted", "positives", "known")


def _label_rows(group: Sequence[Run]) -> Iterable[LabelRow]:
    conditions, names = group[0].conditions, tuple(run.name for run in group)
    replicates: dict[str, np.ndarray] = {}
    if len(group) > 1:
        wanted = [f"label_{name}" for name in MEASURES]
        replicates = _mean_arrays([run.details(wanted) for run in group])
    for index, rows in enumerate(zip(*(run.labels for run in group), strict=True)):
        scores: dict[str, float | None] = {}
        for name, arrays in replicates.items():
            measure = name.removeprefix("label_")
            values = [_number(row[measure]) for row in rows]
            scores |= _with_interval(measure, values, arrays[index])
        yield LabelRow(
            recipe=conditions.recipe,
            board=conditions.board_key,
            runs=names,
            **{name: rows[0][name] for name in _SAME_IN_ALL_SEEDS},
            threshold=_mean_of([row["threshold"] for row in rows]),
            scores=scores or _stored_intervals(rows[0], MEASURES),
        )


def _mean(group: Sequence[Run], name: str) -> float | None:
    return _mean_of([run.metrics[name] for run in group])


def _values(group: Sequence[Run], name: str) -> list[float]:
    return [_number(run.metrics[name]) for run in group]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None when one is undefined, for the mean of the others is another quantity."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) == len(values) > 1 else None


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
