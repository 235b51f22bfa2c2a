"""Scores with intervals for anybody's arrays of truth and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrbench.data.cohort import board_key
from cxrbench.errors import DataError
from cxrbench.metrics.estimate import read_estimate
from cxrbench.metrics.measures import CALIBRATION, RANKING
from cxrbench.metrics.patients import MIN_PATIENTS, counted_labels
from cxrbench.output.sections import CellTable, Column, Section, counted, interval, text_column
from cxrbench.output.show import Shown, plain
from cxrbench.runs.assessment import REPLICATES, UNCALIBRATED, assess
from cxrbench.runs.predictions import Predictions
from cxrbench.runs.scores import metrics_of

_HEADS = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "sensitivity_at_90": "sens. at 90",
    "sensitivity_at_95": "sens. at 95",
    "brier": "Brier",
    "ece": "ECE",
}
_FACTS = ("label", "counted", "positives", "known")
_MEASURES = (*RANKING, *CALIBRATION)


@dataclass(frozen=True)
class Evaluation(Shown):
    """The scores of one set of predictions, each with its 95 % interval over patients.

    ``metrics`` has the keys of a run's ``metrics.json``, such as ``macro_auroc`` and
    ``macro_auroc_interval``; ``labels`` in it has a mapping for each label.
    """

    metrics: Mapping[str, Any]
    patients_known: bool

    def sections(self) -> tuple[Section, ...]:
        """Macro and micro scores, then those of each label."""
        labels = self.metrics["labels"]
        unit = "patients" if self.patients_known else "images"
        count = sum(label["counted"] for label in labels)
        of = f" of {self.metrics['patients']:,} patients" if self.patients_known else ""
        title = f"{self.metrics['images']:,} images{of} · {count} of {len(labels)} labels counted"
        notes = (
            f"[low, high]: 95 % bootstrap interval over {unit} (Wilson, bootstrap variance, t).",
            f"*: not counted in macro, because fewer than {MIN_PATIENTS} {unit} have the label or "
            "do not have it.",
            *(() if self.patients_known else ("Patients are unknown: each image is one patient.",)),
        )
        return (Section(title, (self._means(), self._labels()), notes),)

    def _means(self) -> CellTable:
        rows = [
            (kind, *(interval(read_estimate(self.metrics, f"{kind}_{name}")) for name in _MEASURES))
            for kind in ("macro", "micro")
        ]
        heads = map(Column, (_HEADS[name] for name in _MEASURES))
        return CellTable((text_column("mean"), *heads), tuple(rows))

    def _labels(self) -> CellTable:
        rows = [
            (
                label["label"] if label["counted"] else f"{label['label']} *",
                f"{label['positives']:,} of {label['known']:,}",
                *(interval(read_estimate(label, name)) for name in _MEASURES),
            )
            for label in self.metrics["labels"]
        ]
        heads = map(Column, ("positives", *(_HEADS[name] for name in _MEASURES)))
        return CellTable((text_column("label"), *heads), tuple(rows))

    def to_json(self) -> Mapping[str, Any]:
        """The metrics."""
        return self.metrics

    def records(self) -> list[dict[str, Any]]:
        """A line for macro, one for micro, and one for each label."""
        return list(self._records())

    def _records(self) -> Iterator[dict[str, Any]]:
        for kind in ("macro", "micro"):
            values: dict[str, Any] = {
                "label": kind,
                "counted": None,
                "positives": None,
                "known": None,
            }
            for name in _MEASURES:
                values |= read_estimate(self.metrics, f"{kind}_{name}").columns(name)
            yield values
        for label in self.metrics["labels"]:
            values = {key: label[key] for key in _FACTS}
            for name in _MEASURES:
                values |= read_estimate(label, name).columns(name)
            yield values


def evaluate(
    y_true: Any,
    y_score: Any,
    *,
    patients: Sequence[Any] | None = None,
    labels: Sequence[str] | None = None,
    no_finding: str | None = "No Finding",
    replicates: int = REPLICATES,
) -> Evaluation:
    """Score predictions of any model: AUROC, AP, Brier and more, with intervals over patients.

    Parameters
    ----------
    y_true : (N, L) or (N,) array or DataFrame: 1, 0, or NaN where unknown.
    y_score : the same shape: probabilities. A DataFrame needs the same columns as ``y_true``.
        Where both have the same index, rows and columns are matched by name.
    patients : (N,) ids; images of one patient are drawn together. By default, each image is one
        patient, which makes intervals too narrow where patients have several images.
    labels : (L,) names; by default the columns of ``y_true`` if it is a DataFrame.
    no_finding : the label that is not a finding, for ``macro_auroc_findings``.
    replicates : number of bootstrap samples.

    Returns
    -------
    An `Evaluation`, which a notebook shows as tables, and `Evaluation.to_pandas` as a DataFrame.

    Raises
    ------
    DataError : shapes or columns do not fit, a score is no probability, a patient is missing, or
        truth is not 1, 0 or NaN.
    """
    if labels is None:
        labels = tuple(map(str, getattr(y_true, "columns", ())))
    y_score, patients = _matched(y_score, y_true), _matched(patients, y_true)
    truth, scores = (_matrix(values) for values in (y_true, y_score))
    images = len(truth)
    labels = tuple(labels) or tuple(f"label {place}" for place in range(truth.shape[1]))
    ids = np.array([f"{place:09d}" for place in range(images)])
    people = ids if patients is None else np.array([str(one) for one in patients])
    if truth.shape != scores.shape or len(people) != images or len(labels) != truth.shape[1]:
        raise DataError(
            "the arrays do not fit together",
            expected="y_true and y_score of one shape, a patient for each row, a label for each "
            "column",
            found=f"y_true {truth.shape}, y_score {scores.shape}, {counted(len(people), 'patient')}"
            f", {counted(len(labels), 'label')}",
        )
    if not images:
        raise DataError("there is nothing to evaluate", expected="one row or more", found="no row")
    outside = scores[(scores < 0) | (scores > 1)]
    if len(outside):
        raise DataError(
            "some scores are not probabilities",
            expected="y_score from 0 to 1",
            found=f"{len(outside):,} of {scores.size:,} are not, such as {outside[0]:g}",
            fix="a sigmoid makes probabilities of logits",
        )
    missing = int(np.isin(people, _NO_PATIENT).sum())
    if missing:
        raise DataError(
            "some patients are missing",
            expected="the patient of every row",
            found=f"{missing:,} rows without one",
            fix="leave these rows out, or leave out patients: then each image is one patient",
        )
    known = patients is not None
    key = board_key(labels, ids.tolist(), people.tolist(), truth, patients_known=known)
    test = Predictions(
        image_ids=ids,
        patients=people,
        patients_known=known,
        label_names=labels,
        no_finding=no_finding if no_finding in labels else None,
        counted=counted_labels(truth, people),
        y_true=truth.astype(np.float32),
        y_score=scores,
        ages=np.full(images, np.nan, np.float32),
        sexes=np.full(images, ""),
        views=np.full(images, ""),
    )
    columns = ("image_ids", "patients", "y_true", "y_score", "ages", "sexes", "views")
    nothing = replace(test, **{name: getattr(test, name)[:0] for name in columns})
    result = assess(test, nothing, board_key=key, scoring=UNCALIBRATED, replicates=replicates)
    return Evaluation(plain(metrics_of(result)), known)


_NO_PATIENT = ("", "None", "nan", "<NA>", "NaT")


def _matched(values: Any, like: Any) -> Any:
    """Pandas values with rows and columns in the order of ``like``, if that is of pandas too."""
    if not (hasattr(values, "reindex") and hasattr(like, "reindex")):
        return values
    names, others = (list(getattr(one, "columns", ())) for one in (like, values))
    if names and others and names != others:
        if len(set(others)) < len(others) or set(names) != set(others):
            raise DataError(
                "y_score has other columns than y_true",
                expected=", ".join(map(str, names)),
                found=", ".join(map(str, others)),
                fix="rename its columns; or pass y_score.to_numpy(), if their order is that of "
                "y_true",
            )
        values = values[names]
    index, other = like.index, values.index
    same = index.is_unique and other.is_unique and len(index) == len(other)
    return values.loc[index] if same and set(index) == set(other) else values


def _matrix(values: Any) -> np.ndarray:
    """``values`` as (N, L) float64."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("an array is not numeric", expected="numbers", found=str(error)) from error
    if array.ndim not in (1, 2):
        raise DataError(
            "an array has the wrong number of dimensions",
            expected="(N, L) or (N,)",
            found=str(array.shape),
        )
    return array[:, None] if array.ndim == 1 else array
