"""The score files of a run, which `run` and `score` write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import DataError, RunError, SettingsError
from cxrbench.interfaces import Display
from cxrbench.metrics.estimate import Estimate
from cxrbench.metrics.intervals import METHOD, SeedScores
from cxrbench.metrics.patients import EffectivePatients
from cxrbench.output.files import write_arrays, write_json
from cxrbench.output.show import plain
from cxrbench.runs import validation
from cxrbench.runs.assessment import Assessment, Scoring, assess, scoring_of
from cxrbench.runs.directory import STORED_RUN, scoring_again
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import (
    BOOTSTRAP_FILE,
    DETAILS_FILE,
    LABELS_FILE,
    METRICS_FILE,
    REPLICATES,
    SUBGROUPS_FILE,
    Run,
    SkippedRun,
    read_predicted,
)

SCORE_FILES = (METRICS_FILE, LABELS_FILE, SUBGROUPS_FILE, BOOTSTRAP_FILE, DETAILS_FILE)


def write_scores(assessment: Assessment, folder: Path, *, patients_known: bool) -> None:
    """Write `SCORE_FILES` into ``folder``."""
    values = plain(metrics_of(assessment))
    if not patients_known:
        values["patients"] = None
    # A board reads the first of many runs, and the second only where labels are asked for.
    write_json(folder / LABELS_FILE, values.pop("labels"))
    write_json(folder / METRICS_FILE, values)
    write_json(folder / SUBGROUPS_FILE, plain(assessment.subgroups))
    arrays = _arrays_of(assessment)
    # Not compressed: random digits do not shrink, and a board of many runs reads them all.
    write_arrays(folder / BOOTSTRAP_FILE, {name: arrays.pop(name) for name in REPLICATES})
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    write_arrays(folder / DETAILS_FILE, single)


def _arrays_of(assessment: Assessment) -> dict[str, np.ndarray]:
    """All replicates, by the names of their files."""
    resampled = assessment.resampled
    arrays = {f"macro_{name}": array for name, array in resampled.macro.items()}
    arrays |= {f"micro_{name}": array for name, array in resampled.micro.items()}
    arrays |= {f"label_{name}": array for name, array in resampled.labels.items()}
    return arrays | {"macro_auroc_findings": resampled.macro_auroc_findings}


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
    with STORED_RUN.writing(path), scoring_again(run, scoring.to_json(), SCORE_FILES):
        write_scores(assessment, path, patients_known=run.conditions.patients_known)


def verified(
    runs: Iterable[Run], display: Display
) -> tuple[tuple[Run, ...], tuple[SkippedRun, ...]]:
    """The runs whose scores follow from their predictions, and the others with a reason."""
    everything = tuple(runs)
    sound, skipped = [], []
    with display.task("verifying", len(everything)) as advance:
        for run in everything:
            try:
                verify_scores(run)
                sound.append(run)
            except RunError as error:
                skipped.append(SkippedRun(run.path, str(error).splitlines()[0]))
            advance(1, run.name)
    return tuple(sound), tuple(skipped)


def verify_scores(run: Run) -> None:
    """Compute all scores of a run from its predictions again, and compare them with its files.

    Intervals, replicates and subgroups of a version that computed them otherwise are not compared;
    no board shows them.

    Raises
    ------
    RunError : a file is damaged, or a score does not follow from the predictions.
    """
    test, val = read_predictions(run, "test"), read_predictions(run, "val")
    scoring = run.conditions.scoring
    try:
        rules = scoring_of(scoring["calibration"], scoring["thresholds"])
        key = run.conditions.board_key
        assessment = assess(test, val, board_key=key, scoring=rules)
    except (DataError, SettingsError) as error:
        raise _disagreement(run, f"they cannot be computed: {error.problem}") from error
    values = plain(metrics_of(assessment)) | ({} if test.patients_known else {"patients": None})
    labels = values.pop("labels")
    pairs: list[tuple[str, Any, Any]] = [("", values, run.metrics), ("", labels, run.labels)]
    if run.has_intervals:
        drawn = _arrays_of(assessment)
        stored = run.replicates() | run.details([n for n in drawn if n not in REPLICATES])
        pairs += [(name, drawn[name], stored[name]) for name in drawn]
        subgroups = plain(assessment.subgroups)
        pairs.append(("subgroups", subgroups, run.read_json(SUBGROUPS_FILE, validation.SUBGROUPS)))
    for name, computed, kept in pairs:
        place = _difference(name, computed, kept, run.has_intervals)
        if place is not None:
            raise _disagreement(run, place)


def _disagreement(run: Run, what: str) -> RunError:
    return RunError(
        f"the scores of the run {run.name!r} do not follow from its predictions: {what}",
        fix="compute them anew with `cxrbench score`, or do not use the run",
    )


_TOLERANCE = 1e-4
_OF_INTERVALS = ("_interval", "effective_patients", "bootstrap", "standard_error")


def _difference(name: str, computed: Any, kept: Any, intervals: bool) -> str | None:
    """The first value that differs, such as ``macro_auroc is 0.95, not 0.61``, if any does."""
    if isinstance(computed, np.ndarray):
        same = computed.shape == kept.shape
        same = same and np.allclose(computed, kept, rtol=0, atol=_TOLERANCE, equal_nan=True)
        return None if same else f"the replicates of {name}"
    if isinstance(computed, dict) and isinstance(kept, dict):
        items = [
            (f"{name}.{key}".lstrip("."), value, kept[key])
            for key, value in computed.items()
            if key in kept and (intervals or not any(part in key for part in _OF_INTERVALS))
        ]
    elif isinstance(computed, list) and isinstance(kept, list) and len(computed) == len(kept):
        items = [
            (f"{name}.{_name_of(value, index)}".lstrip("."), value, other)
            for index, (value, other) in enumerate(zip(computed, kept, strict=True))
        ]
    elif isinstance(computed, float | int) and isinstance(kept, float | int):
        return None if abs(computed - kept) <= _TOLERANCE else f"{name} is {kept}, not {computed}"
    else:
        return None if computed == kept else f"{name} is {kept}, not {computed}"
    places = (_difference(*item, intervals) for item in items)
    return next((place for place in places if place is not None), None)


def _name_of(value: Any, index: int) -> Any:
    keys = ("label", "name", "attribute") if isinstance(value, dict) else ()
    return next((value[key] for key in keys if key in value), index)


def metrics_of(assessment: Assessment) -> dict[str, Any]:
    """The values of ``metrics.json``."""
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
