"""The test set of a board, and the predictions of a run for the images of a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.cohort import board_key
from cxrbench.errors import DataError, RunError
from cxrbench.interfaces import Cohort
from cxrbench.metrics.patients import counted_labels
from cxrbench.output.files import write_bytes
from cxrbench.runs.run import Run


@dataclass(frozen=True, eq=False)
class TestSet:
    """The test images of a cohort.

    ``rows`` (n,) are their places in the cohort, ``counted`` (L,) bool the labels in macro, and
    ``board_key`` identifies label names, images, patients and truth.
    """

    rows: np.ndarray
    counted: np.ndarray
    board_key: str

    @classmethod
    def of(cls, cohort: Cohort, rows: np.ndarray) -> TestSet:
        """The test set that has the images in ``rows`` (n,) of a cohort.

        Raises
        ------
        DataError : an image comes twice, or a label is not 1, 0 or NaN.
        """
        patients = [cohort.patient_ids[row] for row in rows.tolist()]
        truth = cohort.labels[rows]
        key = board_key(
            cohort.label_names,
            [cohort.image_ids[row] for row in rows.tolist()],
            patients,
            truth,
            patients_known=cohort.patients_known,
        )
        return cls(rows, counted_labels(truth, patients), key)


PREDICTIONS_FILE = "predictions.parquet"
_MOST_CELLS = 2 * 10**8


@dataclass(frozen=True, eq=False)
class Predictions:
    """The images of one part of a split, in the order of their ids, and what was predicted.

    ``y_true`` (N, L) float32: 1, 0, or NaN where unknown. ``y_score`` (N, L) float64 are
    probabilities. ``patients`` (N,) str are what is resampled; where patients are not known they
    are the images. ``ages`` (N,) float32 in years, NaN where unknown; ``sexes`` and ``views`` (N,)
    str, empty where unknown. ``counted`` (L,) bool are the labels in macro.
    """

    image_ids: np.ndarray
    patients: np.ndarray
    patients_known: bool
    label_names: tuple[str, ...]
    no_finding: str | None
    counted: np.ndarray
    y_true: np.ndarray
    y_score: np.ndarray
    ages: np.ndarray
    sexes: np.ndarray
    views: np.ndarray

    def __len__(self) -> int:
        return len(self.image_ids)


def predictions_of(
    cohort: Cohort, rows: np.ndarray, y_score: np.ndarray, counted: np.ndarray
) -> Predictions:
    """The images in ``rows`` (n,) of a cohort with their scores (n, L), by image id."""
    ids = np.array(cohort.image_ids, dtype=str)
    order = np.argsort(ids[rows], kind="stable")
    rows = rows[order]
    return Predictions(
        image_ids=ids[rows],
        patients=np.array(cohort.patient_ids, dtype=str)[rows],
        patients_known=cohort.patients_known,
        label_names=cohort.label_names,
        no_finding=cohort.no_finding,
        counted=counted,
        y_true=cohort.labels[rows],
        y_score=y_score[order],
        ages=cohort.ages[rows],
        sexes=np.array(cohort.sexes, dtype=str)[rows],
        views=np.array(cohort.views, dtype=str)[rows],
    )


def read_predictions(run: Run, part: str = "test") -> Predictions:
    """What a run predicted for ``part``, ``"val"`` or ``"test"``; ``val`` may be empty.

    Raises
    ------
    RunError : the predictions are missing, damaged, or other than those that the run wrote.
    """
    from pyarrow.lib import ArrowException

    conditions, labels = run.conditions, run.conditions.labels
    try:
        table = _read_table(run.require_unchanged(PREDICTIONS_FILE), run)
        table = table[table["split"] == part].sort_values("image", kind="stable")
        predictions = Predictions(
            image_ids=table["image"].to_numpy(str),
            # Where patients are unknown, images are what is drawn and compared.
            patients=table["patient" if conditions.patients_known else "image"].to_numpy(str),
            patients_known=conditions.patients_known,
            label_names=labels,
            no_finding=conditions.no_finding,
            counted=np.isin(labels, conditions.labels_counted),
            y_true=table[[f"y_true_{label}" for label in labels]].to_numpy(np.float32),
            y_score=table[[f"y_score_{label}" for label in labels]].to_numpy(np.float64),
            ages=table["age"].to_numpy(np.float32),
            sexes=table["sex"].fillna("").to_numpy(str),
            views=table["view"].fillna("").to_numpy(str),
        )
        _require_valid(predictions)
    except (
        *(KeyError, TypeError, ValueError, NotImplementedError, OSError, MemoryError),
        ArrowException,  # as for a text that is no UTF-8
    ) as error:
        raise RunError(
            f"{PREDICTIONS_FILE} of the run {run.name!r} is damaged",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            fix="run the same command with --force",
        ) from error
    if part == "test":
        _require_board(run, predictions)
    return predictions


def _require_board(run: Run, test: Predictions) -> None:
    """Raise `RunError` unless the predictions are of the test images that the run names."""
    key = board_key(
        test.label_names,
        test.image_ids.tolist(),
        test.patients.tolist(),
        test.y_true,
        patients_known=test.patients_known,
    )
    if key != run.conditions.board_key:
        raise RunError(
            f"{PREDICTIONS_FILE} of the run {run.name!r} is damaged: it is of other test images",
            expected=f"labels, images, patients and truth of the board {run.conditions.board_key}",
            found=key,
            fix="copy the run directory again, or run the same command with --force",
        )


def _read_table(path: Path, run: Run) -> Any:
    """The columns of the file that a run writes; metadata of pandas in it are not used."""
    from pyarrow import parquet

    labels = run.conditions.labels
    numbers = [f"{kind}_{label}" for kind in ("y_true", "y_score") for label in labels]
    texts = ["image", "patient", "split", "sex", "view"]
    with parquet.ParquetFile(path) as file:
        about = file.metadata
        cells = about.num_rows * (len(numbers) + len(texts) + 1)
        if cells > _MOST_CELLS:
            raise ValueError(f"it has {cells:,} cells, more than {_MOST_CELLS:,}")
        kinds = {field.name: field.type for field in file.schema_arrow}
        if len(kinds) < len(file.schema_arrow):
            raise ValueError("a column comes twice")
        for names, fits in ((texts, _is_text), (["age", *numbers], _is_number)):
            for name in names:
                if not fits(kinds[name]):
                    raise ValueError(f"the column {name!r} is of {kinds[name]}")
        return file.read(columns=[*texts, "age", *numbers]).to_pandas(ignore_metadata=True)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_floating(kind) or types.is_integer(kind))


def _require_valid(predictions: Predictions) -> None:
    """Raise `ValueError` for values that no run writes."""
    truth, score = predictions.y_true, predictions.y_score
    if not ((truth == 0) | (truth == 1) | np.isnan(truth)).all():
        raise ValueError("a value of y_true is not 1, 0 or unknown")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a value of y_score is not between 0 and 1")
    if len(set(predictions.image_ids.tolist())) < len(predictions):
        raise ValueError("an image comes twice")


def test_rows(run: Run, cohort: Cohort) -> np.ndarray:
    """The places (n,) of a run's test images in a cohort, ascending.

    Raises
    ------
    RunError : the predictions are missing or damaged.
    DataError : the cohort does not have these images, with these patients and labels.
    """
    ids = read_predictions(run).image_ids.tolist()
    places = {name: row for row, name in enumerate(cohort.image_ids)}
    missing = [name for name in ids if name not in places]
    rows = np.array(sorted({places[name] for name in ids if name in places}), int)
    if missing or TestSet.of(cohort, rows).board_key != run.conditions.board_key:
        raise DataError(
            f"{cohort.name!r} is not the test data of the run {run.name!r}",
            expected=f"its {len(ids):,} test images, with the same patients and labels",
            found=f"{len(missing):,} of them missing, such as {', '.join(missing[:3])}"
            if missing
            else "other labels or patients",
            fix="name the run's data with --data",
        )
    return rows


def write_predictions(val: Predictions, test: Predictions, folder: Path) -> None:
    """Write `PREDICTIONS_FILE`: a row for each image of ``val``, then of ``test``.

    ``y_score`` is written as it is: float32 of a model, float64 of a submission.
    """
    import pandas as pd

    tables = [_table(val, "val"), _table(test, "test")]
    whole = pd.concat([table for table in tables if len(table)])
    write_bytes(folder / PREDICTIONS_FILE, whole.to_parquet(index=False))


def _table(part: Predictions, name: str) -> Any:
    import pandas as pd

    columns: dict[str, Any] = {
        "image": part.image_ids,
        "patient": part.patients if part.patients_known else [None] * len(part),
        "split": [name] * len(part),
        "age": part.ages,
        "sex": [sex or None for sex in part.sexes],
        "view": [view or None for view in part.views],
    }
    for kind, values in (("y_true", part.y_true), ("y_score", part.y_score)):
        columns |= {
            f"{kind}_{label}": values[:, index] for index, label in enumerate(part.label_names)
        }
    return pd.DataFrame(columns)
