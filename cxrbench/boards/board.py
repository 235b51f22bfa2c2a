"""Boards and their rows, from run directories alone."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.boards.label_rows import (
    LabelRow,
    flat_columns,
    label_rows,
    mean_if_known,
    number_or_nan,
)
from cxrbench.boards.saliency_columns import (
    SALIENCY,
    SaliencyReference,
    row_saliency,
    saliency_references,
)
from cxrbench.metrics.estimate import ENDS, Estimate, read_estimate
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import MIN_PATIENTS, UNKNOWN_PATIENTS
from cxrbench.metrics.ranking import ranks
from cxrbench.modeling.schedule import early_epoch_warning, few_positives_warning
from cxrbench.output.sections import count_or_unknown
from cxrbench.recipe_text import split_recipe
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
    *("list_name", "list_sha256", "shared_patients"),
    *("limit", "version"),
)
_OWN = (
    *("rank", "recipe", "macro_auroc_sd", "parameters", "train_seconds", "images_per_second"),
    *("latency_seconds", "seeds", "best_epochs", "epochs_trained", "saliency_method"),
    *("saliency_iou_threshold", "runs"),
)


def _columns(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{end}" for name in names for end in ENDS)


ROW_COLUMNS = (
    *("rank", "recipe", *_columns("macro_auroc"), "macro_auroc_sd", *_columns(*_HEADLINES[1:])),
    *("intervals_over", "labels_counted", "parameters", "trainable_parameters", "train_seconds"),
    *("images_per_second", "latency_seconds", "seeds", "best_epochs", "epochs_trained"),
    *_FROM_CONDITIONS,
    *("calibration", "thresholds", "saliency_method", *_columns(*SALIENCY)),
    *("saliency_iou_threshold", "board", "runs"),
)
"""The columns of a row in CSV and its keys in JSON, before those of `OTHER_MEASURES`."""


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
    best_epochs, epochs_trained : of each seed; empty if no epoch was chosen.
    saliency_method, saliency_iou_threshold : None where the saliency was not scored.
    has_intervals : False where a run was scored by a version that computed them otherwise.
    unused_parts : parts of the recipe that the linear head left out, with the number of seeds
        where it did so in some seeds alone.
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
    best_epochs: tuple[int, ...] = ()
    epochs_trained: tuple[int | None, ...] = ()
    has_intervals: bool = True
    unused_parts: tuple[str, ...] = ()

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
            **flat_columns(self.measures, (*_HEADLINES, *SALIENCY)),
            **{name: getattr(self, name) for name in _OWN},
            "intervals_over": "patients" if conditions.patients_known else "images",
            "labels_counted": len(conditions.labels_counted),
            "trainable_parameters": conditions.trainable_parameters,
            "board": conditions.board_key,
        }
        columns = {name: values[name] for name in ROW_COLUMNS}
        return {**columns, **flat_columns(self.measures, OTHER_MEASURES)}


def _kept_epochs(rows: Sequence[Row]) -> Iterator[str]:
    """The epochs whose weights the rows have, and where their choice may be chance."""
    rows = [row for row in rows if row.best_epochs]
    texts, warnings = [], []
    for row in rows:
        epochs = list(zip(row.best_epochs, row.epochs_trained, strict=True))
        kept = ", ".join(f"{best} of {trained or 'unknown'}" for best, trained in epochs)
        texts.append(f"{row.recipe} {kept}")
        early = (early_epoch_warning(best, trained or best) for best, trained in epochs)
        warnings += [f"{row.recipe}: {text}" for text in dict.fromkeys(early) if text]
    few = dict.fromkeys(few_positives_warning(row.conditions.val_positives) for row in rows)
    if texts:
        yield f"Epochs kept, of those trained, for each seed: {'; '.join(texts)}."
    yield from (f"Warning: {text}." for text in (*warnings, *few) if text)


@dataclass(frozen=True)
class Board:
    """Rows that share labels, test images, patients and their truth, best macro AUROC first.

    ``test_patients`` is None where patients are unknown. ``labels_left_out`` are labels of the
    cohort that a submission has no predictions for. ``saliency_references`` stand beside the rows'
    saliency, if any row has it. ``hidden`` are the recipes of control rows that are left out.
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
    hidden: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The data and the split of this board, its test images and its counted labels."""
        data = dict.fromkeys(row.conditions.data_text for row in self.rows)
        return (
            f"{'; '.join(data)} · {self.test_images:,} test images of "
            f"{count_or_unknown(self.test_patients)} patients · "
            f"{len(self.labels_counted)} of {len(self.labels)} labels counted"
        )

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
        limits = {row.conditions.limit for row in self.rows} - {None}
        smoke = "Smoke test: only a sample of the images was used (--limit). No score is a result."
        return (
            *((smoke,) if limits else ()),
            *dict.fromkeys(filter(None, (row.conditions.overlap_warning for row in self.rows))),
            *(() if self.patients_known else (UNKNOWN_PATIENTS,)),
            *((old + ", ".join(stale),) if stale else ()),
            *(() if self.labels_counted else (few,)),
            *((left_out,) if self.labels_left_out else ()),
            *_kept_epochs(self.rows),
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
            "hidden": self.hidden,
            "rows": [row.columns() for row in self.rows],
            "saliency_references": [one.to_json() for one in self.saliency_references],
        }


def boards(
    runs: Iterable[Run], *, per_label: bool = True, controls: bool = False
) -> tuple[Board, ...]:
    """Sort runs into boards; those with the most rows come first.

    Without ``per_label`` their `Board.per_label` is empty, and less is read. Control rows, such as
    ``orb:permuted=true``, are no contestants: without ``controls`` they are left out, take no rank
    and are not in the correction of the others' p-values. A board of controls alone shows them.
    """
    by_board: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_board[run.conditions.board_key].append(run)
    unsorted = [
        _board(key, members, per_label, () if controls else _hidden(members))
        for key, members in by_board.items()
    ]
    return tuple(sorted(unsorted, key=lambda board: (-len(board.rows), board.key)))


def _hidden(runs: Sequence[Run]) -> tuple[str, ...]:
    """The recipes of the control rows; none where there is nothing else to show."""
    trained = [run.conditions.recipe for run in runs if run.kind is RunKind.trained]
    controls = {text for text in trained if split_recipe(text).has_control_parts}
    return tuple(sorted(controls)) if len(controls) < len(set(trained)) else ()


def _board(key: str, runs: Sequence[Run], per_label: bool, hidden: tuple[str, ...]) -> Board:
    runs = [run for run in runs if run.conditions.recipe not in hidden]
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
        per_label=tuple(row for i in order for row in label_rows(rows[i])) if per_label else (),
        saliency_references=saliency_references(rows),
        hidden=hidden,
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
        train_seconds=mean_if_known([one.train_seconds for one in conditions]),
        images_per_second=mean_if_known([one.images_per_second for one in conditions]),
        latency_seconds=mean_if_known([stored_latency(run) for run in seeds]),
        best_epochs=tuple(one.best_epoch for one in conditions if one.best_epoch is not None),
        epochs_trained=tuple(
            one.epochs_trained for one in conditions if one.best_epoch is not None
        ),
        saliency_method=saliency.method,
        saliency_iou_threshold=saliency.iou_threshold,
        has_intervals=all(run.has_intervals for run in seeds),
        unused_parts=_unused_parts(conditions),
    )


def _unused_parts(seeds: Sequence[Conditions]) -> tuple[str, ...]:
    names = Counter(name for one in seeds for name in (one.linear_head or {}).get("left_out", ()))
    return tuple(
        name if count == len(seeds) else f"{name} (in {count} of {len(seeds)} seeds)"
        for name, count in names.items()
    )


def _values(seeds: Seeds, name: str) -> list[float]:
    return [number_or_nan(run.metrics[name]) for run in seeds]


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
