"""Write the results of a run into its directory, in formats that other programs can read."""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.splits import PARTS, Split
from cxrbench.experiment.cohort import PreparedCohort
from cxrbench.experiment.fit import RunOutcome
from cxrbench.experiment.stages import Clock
from cxrbench.interfaces import Cohort, Exclusion
from cxrbench.modeling.assemble import Statistics
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.schedule import Epoch
from cxrbench.output.files import replacing, write_arrays
from cxrbench.runs.assessment import Scoring, assess
from cxrbench.runs.directory import RUN
from cxrbench.runs.predictions import predictions_of, write_predictions
from cxrbench.runs.run import IMAGE_STATISTICS_FILE
from cxrbench.runs.scores import write_scores


def record(
    outcome: RunOutcome, data: PreparedCohort, folder: Path, scoring: Scoring
) -> dict[str, float]:
    """Write everything but ``run.json``: history, splits, predictions, scores, encoders, model.

    Returns
    -------
    The seconds that it took to ``score`` and to ``save``.
    """
    clock = Clock()
    write_metadata(data.cohort, data.split, folder)
    excluded = (*data.cohort.excluded, *data.prepared.excluded)
    _write_csv(folder / "excluded.csv", excluded, Exclusion)
    if outcome.training is not None and outcome.training.history:
        _write_csv(folder / "history.csv", outcome.training.history, Epoch)
    test, val = (
        predictions_of(data.cohort, data.rows(part), y_score, data.test.counted)
        for part, y_score in (("test", outcome.test), ("val", outcome.val))
    )
    write_predictions(val, test, folder)
    clock.stop("save")
    assessment = assess(test, val, board_key=data.test.board_key, scoring=scoring)
    write_scores(assessment, folder, patients_known=data.cohort.patients_known)
    clock.stop("score")
    for name, encoded in outcome.encoders.items():
        _save_encoder(
            folder / "encoders" / f"{name}.npz", encoded.statistics, encoded.fitted.arrays()
        )
    if outcome.image_statistics is not None:
        _save_encoder(folder / IMAGE_STATISTICS_FILE, outcome.image_statistics, {})
    if outcome.model is not None:
        RUN.require_room(folder, 9 * outcome.parameters)  # two files of 4 bytes a number
        _save_model(_uncompiled(outcome.model), folder)
    clock.stop("save")
    return clock.laps


def _save_encoder(path: Path, statistics: Statistics, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(exist_ok=True)
    moments = {
        "standardised_mean": statistics.mean,
        "standardised_variance": statistics.variance,
    }
    write_arrays(path, {**arrays, **moments}, compressed=True)


def _save_model(model: Any, folder: Path) -> None:
    """Write ``model.keras``, and beside it the weights alone, which it holds as they are."""
    # HDF5 fails badly on a full disk. For the archive, Keras makes the file of weights in memory.
    model.save(folder / "model.keras")
    with (
        zipfile.ZipFile(folder / "model.keras") as archive,
        archive.open("model.weights.h5") as weights,
        (folder / "model.weights.h5").open("wb") as file,
    ):
        shutil.copyfileobj(weights, file, 1 << 20)


def _uncompiled(model: Any) -> Any:
    """The same model without what training left in its parts.

    The optimiser's state would triple the files, and the name of the loss would keep a plain
    ``keras.models.load_model`` from opening them.
    """
    copy = load_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _write_csv(path: Path, items: Iterable[Any], kind: type) -> None:
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(kind))
        writer.writerows(map(astuple, items))


COLUMNS = ("image_id", "patient_id", "age", "sex", "view")


def write_metadata(cohort: Cohort, split: Split, folder: Path) -> tuple[Path, ...]:
    """Write one table per part and return the three paths.

    A row is one image, in the cohort's order: `COLUMNS`, then a column per label with 1 or 0.
    Unknown values, also of patients, are empty. Each file appears whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in PARTS:
        path = folder / f"{part}_metadata.csv"
        with (
            replacing(path, shared=True) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*COLUMNS, *cohort.label_names))
            writer.writerows(_row(cohort, row) for row in split.rows(part).tolist())
        paths.append(path)
    return tuple(paths)


def _row(cohort: Cohort, row: int) -> list[str]:
    return [
        cohort.image_ids[row],
        cohort.patient_ids[row] if cohort.patients_known else "",
        _number(cohort.ages[row]),
        cohort.sexes[row],
        cohort.views[row],
        *map(_number, cohort.labels[row]),
    ]


def _number(value: np.floating) -> str:
    return "" if np.isnan(value) else f"{value:g}"
