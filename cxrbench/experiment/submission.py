"""Predictions of other programs: checked against the cohort, scored as those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench import __version__
from cxrbench.data.cohort import fingerprint
from cxrbench.data.datasets import examine, find_dataset
from cxrbench.data.prediction_table import PredictionTable, read_predictions_table
from cxrbench.data.splits import DEFAULT_FRACTIONS, Fractions, Split, make_split, split_predictions
from cxrbench.errors import DataError, RunError, SettingsError
from cxrbench.experiment.cohort import DividedCohort
from cxrbench.experiment.conditions import NOT_COMPUTED, cohort_conditions, keys_of
from cxrbench.interfaces import Cohort, Dataset, Display
from cxrbench.options import LARGEST_SEED
from cxrbench.output.files import file_digest, lock_of, locked
from cxrbench.recipe import PRIOR
from cxrbench.registry import Registry
from cxrbench.runs.assessment import UNCALIBRATED, Scoring, assess
from cxrbench.runs.conditions import EXTERNAL, Conditions, RunKind
from cxrbench.runs.directory import RUN, begin, finish, is_complete, run_path
from cxrbench.runs.predictions import Predictions, TestSet, predictions_of, write_predictions
from cxrbench.runs.run import read_predicted, read_runs
from cxrbench.runs.scores import write_scores


@dataclass(frozen=True)
class Submission:
    """What is submitted, how its table is read and scored, and where it goes.

    ``table`` has a row for each test image, ``val_table`` one for each validation image, which
    thresholds and calibration are chosen on. ``split`` is ``patient``, ``official``,
    ``official:DIR``, ``lists:DIR`` or ``predictions``: the images of ``table`` are the test split.
    """

    name: str
    table: Path
    data: str | None
    runs: Path
    cache: Path
    scoring: Scoring = UNCALIBRATED
    force: bool = False
    val_table: Path | None = None
    split: str = "patient"
    split_seed: int = 0
    fractions: Fractions = DEFAULT_FRACTIONS
    allow_overlap: bool = False
    seed: int = 0
    parameters: int | None = None
    image_column: str | None = None
    prefix: str | None = None
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Scope(DividedCohort):
    """A cohort with the labels that have predictions; ``left_out`` are the others."""

    test: TestSet
    left_out: tuple[str, ...]


def submit(submission: Submission, registry: Registry, display: Display) -> str:
    """Put predictions into a run directory of their own, and a prior beside them if there is none.

    The label table of the data is enough; its images need not be there.

    Returns
    -------
    The key of the board.

    Raises
    ------
    DataError : the table does not cover the test images exactly, holds no probabilities, names
        unknown labels; the labels cannot be used.
    RunError : there are other predictions of this name and seed, and no ``force``.
    """
    _check_name(submission)
    dataset = find_dataset(submission.data, registry, Path.cwd())
    cohort = _labels_of(dataset, display, submission.cache)
    table = _table(submission.table, submission, cohort)
    split = _split(submission, cohort, dataset, table)
    scope = _scope(dataset, cohort, split, table)
    for text in split.notes:
        display.say(f"  {text}")
    test = _predictions(scope, "test", table)
    val = _validation(submission, scope, cohort)
    if scope.left_out:
        display.say(
            f"  labels without predictions are left out of this board: {', '.join(scope.left_out)}"
        )
    _store(submission, scope, (test, val), display)
    runs, _ = read_runs(submission.runs)
    have_prior = {run.conditions.board_key for run in runs if run.kind is RunKind.prior}
    if scope.test.board_key not in have_prior:
        prior = replace(submission, name=PRIOR, parameters=0, seed=0, force=True)
        _store(prior, scope, _prior(scope, (test, val)), display)
    return scope.test.board_key


def _check_name(submission: Submission) -> None:
    name = submission.name.strip()
    if not name or name == PRIOR or name != submission.name or not name.isprintable():
        raise SettingsError(
            f"a submission cannot have the name {submission.name!r}",
            expected="a new name without spaces at its ends; prior is reserved",
            found=repr(submission.name),
        )
    if not all(0 <= seed <= LARGEST_SEED for seed in (submission.split_seed, submission.seed)):
        raise SettingsError(
            "a seed is negative or too large",
            expected=f"--seed and --split-seed from 0 to {LARGEST_SEED}",
            found=f"--seed {submission.seed} --split-seed {submission.split_seed}",
        )


def _labels_of(dataset: Dataset, display: Display, cache: Path) -> Cohort:
    """The cohort of a table whose images may be elsewhere."""
    examined = examine(dataset, display, cache)
    faults = [f for f in examined.faults if examined.has_images or f.check != "no-images"]
    if faults:
        raise DataError(
            f"the labels of {dataset.name!r} have {len(faults):,} faults",
            expected="a table without faults",
            found=faults[0].found,
            fix="`cxrbench data check` lists them all",
        )
    return examined.cohort


def _table(path: Path, submission: Submission, cohort: Cohort) -> PredictionTable:
    return read_predictions_table(
        path,
        cohort.label_names,
        image_column=submission.image_column,
        prefix=submission.prefix,
        ignore=submission.ignore,
    )


def _split(
    submission: Submission, cohort: Cohort, dataset: Dataset, table: PredictionTable
) -> Split:
    if submission.split == "predictions":
        return split_predictions(cohort, table.known_in(cohort.image_ids))
    return make_split(
        cohort,
        dataset,
        submission.split,
        submission.fractions,
        submission.split_seed,
        allow_overlap=submission.allow_overlap,
    )


def _scope(dataset: Dataset, cohort: Cohort, split: Split, table: PredictionTable) -> _Scope:
    """Keep the labels that have predictions."""
    places = [cohort.label_names.index(name) for name in table.label_names]
    has_no_finding = cohort.no_finding in table.label_names
    part = replace(
        cohort,
        label_names=table.label_names,
        labels=cohort.labels[:, places],
        no_finding=cohort.no_finding if has_no_finding else None,
    )
    return _Scope(
        dataset=dataset,
        cohort=part,
        split=split,
        test=TestSet.of(part, split.rows("test")),
        left_out=tuple(name for name in cohort.label_names if name not in table.label_names),
    )


def _predictions(scope: _Scope, part: str, table: PredictionTable | None) -> Predictions:
    """Those of a part; of none of its images without a table."""
    cohort = scope.cohort
    rows = scope.rows(part)[: None if table else 0]
    y_score = np.zeros((0, len(cohort.label_names)))
    if table is not None:
        ids = [cohort.image_ids[row] for row in rows.tolist()]
        y_score = table.y_score[table.rows_for(ids, "test" if part == "test" else "validation")]
    return predictions_of(cohort, rows, y_score, scope.test.counted)


def _validation(submission: Submission, scope: _Scope, whole: Cohort) -> Predictions:
    if submission.val_table is None:
        return _predictions(scope, "val", None)
    if not len(scope.rows("val")):
        raise SettingsError(
            "--val cannot be used with --split predictions",
            expected="a split with validation images",
            found="only training and test images",
        )
    table = _table(submission.val_table, submission, whole)
    if table.label_names != scope.cohort.label_names:
        raise DataError(
            f"{submission.val_table} has other labels than {submission.table}",
            expected=", ".join(scope.cohort.label_names),
            found=", ".join(table.label_names),
        )
    return _predictions(scope, "val", table)


def _prior(scope: _Scope, parts: Sequence[Predictions]) -> tuple[Predictions, ...]:
    """Each label's share among the training images where it is known, for every image alike."""
    prevalence = scope.prevalence.astype(np.float64)
    return tuple(replace(part, y_score=np.tile(prevalence, (len(part), 1))) for part in parts)


def _store(
    submission: Submission, scope: _Scope, parts: Sequence[Predictions], display: Display
) -> None:
    test, val = parts
    conditions = _conditions(submission, scope, validated=len(val) > 0)
    path = run_path(
        submission.runs,
        dataset=scope.dataset.name,
        recipe=submission.name,
        protocol=EXTERNAL,
        seed=submission.seed,
        key=conditions.run_key,
    )
    with RUN.writing(submission.runs):
        submission.runs.mkdir(parents=True, exist_ok=True)
    with RUN.writing(path), locked([lock_of(path)], display):
        if is_complete(path) and not submission.force:
            _refuse_other(path, conditions, submission)
        display.say(f"{submission.name} in {path}")
        assessment = assess(test, val, board_key=scope.test.board_key, scoring=submission.scoring)
        begin(path, conditions)
        write_predictions(val, test, path)
        write_scores(assessment, path, patients_known=test.patients_known)
        finish(path, conditions)


def _refuse_other(path: Path, conditions: Conditions, submission: Submission) -> None:
    there = read_predicted(path).conditions.submitted or {}
    if there != conditions.submitted:
        raise RunError(
            f"the name {submission.name!r} is already used for other predictions",
            expected="a name that is not used on this board",
            found=f"{path}, of {there.get('table')}",
            fix="choose another name, --seed for another seed of the same model, or --force to "
            "replace them",
        )


def _conditions(submission: Submission, scope: _Scope, *, validated: bool) -> Conditions:
    """What is known of predictions whose model is unknown."""
    cohort, split = scope.cohort, scope.split
    prior = submission.name == PRIOR
    shaping: dict[str, Any] = {
        "recipe": submission.name,
        "origin": "cxrbench" if prior else EXTERNAL,
        "board_key": scope.test.board_key,
        "dataset": scope.dataset.name,
        "split": split.kind,
        "split_seed": split.seed,
        "split_hash": split.hash,
    }
    parts = ("train", "val", "test") if validated else ("train", "test")
    files = {"table": submission.table.name, "sha256": file_digest(submission.table)}
    if submission.val_table is not None:
        files["val_table"] = submission.val_table.name
        files["val_sha256"] = file_digest(submission.val_table)
    return Conditions(
        **keys_of(shaping, submission.seed),
        **shaping | cohort_conditions(cohort, split, scope.test, parts),
        seed=submission.seed,
        # Nothing was read of any image.
        fingerprint=fingerprint(cohort, [""] * len(cohort)),
        **{
            **NOT_COMPUTED,
            "protocol": "none" if prior else EXTERNAL,
            "head": "none" if prior else "unknown",
        },
        weights="none" if prior else "unknown",
        trains="nothing" if prior else "unknown",
        parameters=submission.parameters,
        trainable_parameters=submission.parameters,
        version=__version__,
        labels_left_out=scope.left_out,
        scoring=submission.scoring.to_json(),
        submitted=files,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
