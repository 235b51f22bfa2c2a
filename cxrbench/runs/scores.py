"""The files of a run that hold its scores: written from an assessment, by `run` and by `score`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.metrics.bootstrap import percentile_interval
from cxrbench.output.files import write_json
from cxrbench.runs.assessment import Assessment, Scoring, assess
from cxrbench.runs.directory import RUN, scoring_again
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import (
    BOOTSTRAP_FILE,
    DETAILS_FILE,
    LABELS_FILE,
    METRICS_FILE,
    REPLICATES,
    SUBGROUPS_FILE,
    read_predicted,
)

SCORE_FILES = (METRICS_FILE, LABELS_FILE, SUBGROUPS_FILE, BOOTSTRAP_FILE, DETAILS_FILE)


def write_scores(assessment: Assessment, folder: Path, *, patients_known: bool) -> None:
    """Write `SCORE_FILES` into ``folder``."""
    told = _metrics(assessment)
    if not patients_known:
        told["patients"] = None
    # A board reads the first of many runs, and the second only where labels are asked for.
    write_json(folder / LABELS_FILE, told.pop("labels"))
    write_json(folder / METRICS_FILE, told)
    write_json(folder / SUBGROUPS_FILE, [_plain(asdict(one)) for one in assessment.subgroups])
    resampled = assessment.resampled
    arrays: dict[str, Any] = {f"macro_{name}": array for name, array in resampled.macro.items()}
    arrays |= {f"micro_{name}": array for name, array in resampled.micro.items()}
    arrays["macro_auroc_findings"] = resampled.macro_auroc_findings
    # Not compressed: random digits do not shrink, and a board of many runs reads them all.
    np.savez(folder / BOOTSTRAP_FILE, **{name: arrays.pop(name) for name in REPLICATES})
    arrays |= {f"label_{name}": array for name, array in resampled.labels.items()}
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez(folder / DETAILS_FILE, **single)


def score_again(path: Path, scoring: Scoring) -> None:
    """Score the saved predictions of the run at ``path`` anew, without its model or its images.

    Killed in between, it is finished by being called again. The caller holds the run's lock.

    Raises
    ------
    RunError : the run is incomplete, its predictions are damaged, or its scores cannot be written.
    """
    run = read_predicted(path)
    test, val = read_predictions(run, "test"), read_predictions(run, "val")
    assessment = assess(test, val, board_key=run.conditions.board_key, scoring=scoring)
    with RUN.writing(path), scoring_again(run, scoring.to_json(), SCORE_FILES):
        write_scores(assessment, path, patients_known=run.conditions.patients_known)


def _metrics(assessment: Assessment) -> dict[str, Any]:
    resampled, told = assessment.resampled, assessment.scores.to_json()
    for name, array in resampled.macro.items():
        told[f"macro_{name}_interval"] = _interval(array)
    for name, array in resampled.micro.items():
        told[f"micro_{name}_interval"] = _interval(array)
    told["macro_auroc_findings_interval"] = _interval(resampled.macro_auroc_findings)
    for index, label in enumerate(told["labels"]):
        for name, arrays in resampled.labels.items():
            label[f"{name}_interval"] = _interval(arrays[index])
        error = float(assessment.auroc_errors[index])
        label["auroc_standard_error"] = None if np.isnan(error) else error
    replicates = len(resampled.macro_auroc)
    return {
        **told,
        "bootstrap": {"replicates": replicates, "redrawn": resampled.redrawn},
        "calibration": assessment.calibration.to_json(),
    }


def _interval(replicates: np.ndarray) -> list[float] | None:
    low, high = percentile_interval(replicates)
    return None if np.isnan(low) else [low, high]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
