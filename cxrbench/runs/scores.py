"""The score files of a run, which `run` and `score` write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.metrics.estimate import Estimate
from cxrbench.metrics.intervals import METHOD, SeedScores
from cxrbench.metrics.patients import EffectivePatients
from cxrbench.output.files import write_arrays, write_json
from cxrbench.output.show import plain
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
    values = plain(_metrics(assessment))
    if not patients_known:
        values["patients"] = None
    # A board reads the first of many runs, and the second only where labels are asked for.
    write_json(folder / LABELS_FILE, values.pop("labels"))
    write_json(folder / METRICS_FILE, values)
    write_json(folder / SUBGROUPS_FILE, plain(assessment.subgroups))
    resampled = assessment.resampled
    arrays: dict[str, Any] = {f"macro_{name}": array for name, array in resampled.macro.items()}
    arrays |= {f"micro_{name}": array for name, array in resampled.micro.items()}
    arrays["macro_auroc_findings"] = resampled.macro_auroc_findings
    # Not compressed: random digits do not shrink, and a board of many runs reads them all.
    write_arrays(folder / BOOTSTRAP_FILE, {name: arrays.pop(name) for name in REPLICATES})
    arrays |= {f"label_{name}": array for name, array in resampled.labels.items()}
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    write_arrays(folder / DETAILS_FILE, single)


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
    resampled, values = assessment.resampled, assessment.scores.to_json()
    patients = resampled.patients
    findings = {"auroc": resampled.macro_auroc_findings}
    for kind, replicates, effective, ending in (
        ("macro", resampled.macro, patients.macro, ""),
        ("macro", findings, patients.macro, "_findings"),
        ("micro", resampled.micro, patients.micro, ""),
    ):
        for measure, array in replicates.items():
            name = f"{kind}_{measure}{ending}"
            values |= _with_interval(name, measure, values[name], array, effective)
    for index, label in enumerate(values["labels"]):
        effective = patients.labels[index]
        for measure, arrays in resampled.labels.items():
            label |= _with_interval(measure, measure, label[measure], arrays[index], effective)
        label["auroc_standard_error"] = assessment.auroc_errors[index]
        label["effective_patients"] = effective.to_json()
    return {
        **values,
        "effective_patients": {
            kind: getattr(patients, kind).to_json() for kind in ("macro", "micro")
        },
        "bootstrap": {
            "replicates": len(resampled.macro_auroc),
            "redrawn": resampled.redrawn,
            "method": METHOD,
        },
        "calibration": assessment.calibration.to_json(),
    }


def _with_interval(
    name: str, measure: str, value: float, replicates: np.ndarray, patients: EffectivePatients
) -> dict[str, Any]:
    scores = SeedScores.alone(value, replicates)
    return Estimate.of(measure, scores, patients.of(measure)).to_json(name)
