"""Complete runs, read from their directories and checked against their SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cxrbench.errors import RunError
from cxrbench.metrics.intervals import METHOD
from cxrbench.metrics.patients import EffectivePatients
from cxrbench.output.files import (
    DamagedArrays,
    digest_of,
    file_digest,
    read_arrays,
    read_regular,
)
from cxrbench.runs import validation
from cxrbench.runs.conditions import Conditions, RunKind, read_conditions
from cxrbench.runs.validation import Check, damaged, require

FORMAT = 4
RUN_FILE = "run.json"
METRICS_FILE = "metrics.json"
LABELS_FILE = "labels.json"
BOOTSTRAP_FILE = "bootstrap.npz"
DETAILS_FILE = "bootstrap_details.npz"
SUBGROUPS_FILE = "subgroups.json"
IMAGE_STATISTICS_FILE = "encoders/image.npz"

COMPLETE, SCORING, INCOMPLETE = "complete", "scoring", "incomplete"
"""The status of a run; that of the second has its model and predictions, and no scores yet."""

REPLICATES = ("macro_auroc", "macro_auroc_findings", "micro_auroc")
"""What is resampled for every board; `DETAILS_FILE` has the other measures, and each label's."""

_FORCE = "copy the run directory again, or run the same command with --force"
_MOST_JSON = 2**26
_MOST_REPLICATES = 2**28


@dataclass(frozen=True)
class Run:
    """A complete run, as it was read.

    ``conditions`` are ``run.json``, with the SHA-256 of each of its ``files``; ``metrics`` are
    ``metrics.json``.
    """

    path: Path
    conditions: Conditions
    files: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.path.name

    @property
    def kind(self) -> RunKind:
        """Whether a model was trained here, this is the prior, or predictions were submitted."""
        return self.conditions.kind

    @property
    def row_key(self) -> str:
        """What runs share that are seeds of one row: seeds scored in other ways have no mean."""
        return digest_of([self.conditions.row_key, self.conditions.scoring])

    @property
    def test_images(self) -> int:
        """The number of images that the scores are of."""
        return int(self.metrics["images"])

    @property
    def test_patients(self) -> int | None:
        """The number of their patients; None where patients are unknown."""
        return self.metrics["patients"] if self.conditions.patients_known else None

    @property
    def has_intervals(self) -> bool:
        """Whether its scores have intervals; those of an earlier version are of another kind."""
        bootstrap = self.metrics.get("bootstrap")
        return isinstance(bootstrap, dict) and bootstrap.get("method") == METHOD

    def effective_patients(self, kind: Literal["macro", "micro"]) -> EffectivePatients:
        """The effective patients of its test split; simply its patients where not written."""
        values = self.metrics.get("effective_patients")
        if values is None:
            number = float(self.metrics["patients"] or self.metrics["images"])
            return EffectivePatients(number, number, number)
        return EffectivePatients.from_json(values[kind])

    @cached_property
    def labels(self) -> list[dict[str, Any]]:
        """The scores of each label, ``labels.json``; read when they are first asked for.

        Raises
        ------
        RunError : the file is missing, damaged or other than the one that the run wrote.
        """
        names = self.conditions.labels
        rows: list[dict[str, Any]] = self.read_json(
            LABELS_FILE, validation.labels_check(len(names))
        )
        if tuple(row["label"] for row in rows) != names:
            raise damaged(f"{self.name}/{LABELS_FILE}", "its labels are not the run's", "others")
        return rows

    def replicates(self, names: Sequence[str] = REPLICATES) -> dict[str, np.ndarray]:
        """The bootstrap replicates, each (B,) float64, by names of `REPLICATES`."""
        if tuple(names) == REPLICATES[:1]:
            return {REPLICATES[0]: self.macro_replicates}
        return self._replicates(BOOTSTRAP_FILE, names)  # unchanged, as `read_run` made sure

    @cached_property
    def macro_replicates(self) -> np.ndarray:
        """Those of macro AUROC (B,), kept for the ranks; all of them are checked on the way."""
        return self._replicates(BOOTSTRAP_FILE, REPLICATES)[REPLICATES[0]]

    def details(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Those of other measures, float32, by names: ``macro_brier`` (B,), ``label_f1`` (L, B).

        Raises
        ------
        RunError : the file is missing, damaged or other than the one that the run wrote.
        """
        arrays = self.read_arrays(DETAILS_FILE, names)
        count = len(self.macro_replicates)
        if any(array.shape[-1] != count for array in arrays.values()):
            raise damaged(f"{self.name}/{DETAILS_FILE}", f"it has not {count} replicates", "others")
        return arrays

    def read_json(self, name: str, check: Check) -> Any:
        """The content of a JSON file of the run, if it is what the run wrote, and valid.

        Raises
        ------
        RunError : the file is missing, damaged or other than the one that the run wrote.
        """
        try:
            content = read_regular(self.path / name, _MOST_JSON)
        except OSError as error:
            raise self._changed(name, error) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.files.get(name):
            raise self._changed(name, digest)
        return require(_json(self.path / name, content), check, f"{self.name}/{name}")

    def require_unchanged(self, name: str) -> Path:
        """The path of a file of the run; `RunError` unless it is there, and what the run wrote."""
        path = self.path / name
        try:
            digest = file_digest(path)
        except OSError as error:
            raise self._changed(name, error) from error
        if digest != self.files.get(name):
            raise self._changed(name, digest)
        return path

    def _changed(self, name: str, found: OSError | str) -> RunError:
        return RunError(
            f"{name} of the run {self.name!r} is missing or was changed after the run",
            expected=f"SHA-256 {self.files.get(name, 'of a file of the run')}",
            found=f"SHA-256 {found}" if isinstance(found, str) else found.strerror or str(found),
            fix=_FORCE,
        )

    def read_arrays(
        self, name: str, arrays: Sequence[str], *, fix: str = _FORCE
    ) -> dict[str, np.ndarray]:
        """Arrays of replicates in a file of the run as it was written; else `RunError`."""
        self.require_unchanged(name)
        return self._replicates(name, arrays, fix)

    def _replicates(
        self, name: str, arrays: Sequence[str], fix: str = _FORCE
    ) -> dict[str, np.ndarray]:
        try:
            replicates = read_arrays(self.path / name, arrays, most=_MOST_REPLICATES)
            _require_replicates(replicates, len(self.conditions.labels))
        except DamagedArrays as error:
            raise RunError(
                f"the replicates in {name} of the run {self.name!r} cannot be read",
                found=str(error),
                fix=fix,
            ) from error
        return replicates


def _require_replicates(arrays: Mapping[str, np.ndarray], labels: int) -> None:
    """As many replicates (B,) of each measure, (L, B) of one of labels; finite, or NaN."""
    sizes = {array.shape[-1] for array in arrays.values() if array.ndim}
    for name, array in arrays.items():
        shape = (labels,) if name.startswith("label_") else ()
        if array.dtype.kind != "f" or array.shape[:-1] != shape or len(sizes) != 1:
            raise DamagedArrays(f"{name} has the shape {array.shape} of {array.dtype}")
        if np.isinf(array).any() or array.ndim == 0:
            raise DamagedArrays(f"{name} has infinite values")


@dataclass(frozen=True)
class SkippedRun:
    """A folder among the runs that is not used, and why."""

    path: Path
    reason: str


def read_run(path: Path) -> Run:
    """Read a complete run.

    Raises
    ------
    RunError : it is incomplete, damaged, of another format, or its scores do not match their
        digest.
    """
    run = _read(path, (COMPLETE,))
    run.require_unchanged(BOOTSTRAP_FILE)
    metrics = run.read_json(METRICS_FILE, validation.METRICS)
    calibration = metrics.get("calibration", {"labels": ()})
    calibrated = run.conditions.scoring["calibration"] != "none"
    if calibrated and len(calibration["labels"]) != len(run.conditions.labels):
        raise damaged(f"{path.name}/{METRICS_FILE}", "labels without a calibration", calibration)
    return Run(path, run.conditions, run.files, metrics)


def read_predicted(path: Path) -> Run:
    """Read a run that has its predictions, whatever became of its scores: ``metrics`` is empty.

    Raises
    ------
    RunError : it is incomplete, damaged, or of another format.
    """
    return _read(path, (COMPLETE, SCORING))


def read_runs(
    folder: Path, *, read: Callable[[Path], Run] = read_run
) -> tuple[tuple[Run, ...], tuple[SkippedRun, ...]]:
    """Every complete run below ``folder``, and what was skipped; folders without a run are ignored.

    ``read`` reads one run, and decides what is complete.

    Raises
    ------
    RunError : there is no such folder.
    """
    if not folder.is_dir():
        raise RunError(
            f"there are no runs at {folder}",
            expected="a folder of run directories",
            found="no folder",
            fix="run a recipe with `cxrbench run RECIPE…`, or set the folder with --runs",
        )
    runs: dict[str, Run] = {}
    skipped = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise RunError(
            f"the runs at {folder} cannot be read",
            expected="a folder that this user may read",
            found=error.strerror or str(error),
        ) from error
    for path in paths:
        try:
            if not (path / RUN_FILE).exists():
                continue
            run = read(path)
        except OSError as error:
            skipped.append(SkippedRun(path, f"{path.name!r} cannot be read: {error.strerror}"))
            continue
        except RunError as error:
            skipped.append(SkippedRun(path, str(error).splitlines()[0]))
            continue
        # A copy is no second seed: counted twice it would shrink the spread over seeds.
        first = runs.setdefault(run.conditions.run_key, run)
        if first is not run:
            skipped.append(SkippedRun(path, f"{run.name!r} is a copy of the run {first.name!r}"))
    return tuple(runs.values()), tuple(skipped)


def read_run_file(path: Path) -> dict[str, Any]:
    """The content of the ``run.json`` of the run directory ``path``, unchecked.

    Raises
    ------
    FileNotFoundError : there is none.
    RunError : it is not a JSON object.
    """
    file = path / RUN_FILE
    try:
        content = read_regular(file, _MOST_JSON)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path.name}/{RUN_FILE} is damaged", found=str(error)) from error
    value = _json(file, content)
    if not isinstance(value, dict):
        raise RunError(f"{path.name}/{RUN_FILE} is damaged", expected="a JSON object")
    return value


def _read(path: Path, usable: Sequence[str]) -> Run:
    try:
        values = read_run_file(path)
    except FileNotFoundError as error:
        raise RunError(f"{path.name!r} has no {RUN_FILE}", fix="name a run directory") from error
    if values.get("format") != FORMAT:
        raise RunError(
            f"the run {path.name!r} was written by another version of cxrbench",
            expected=f"format {FORMAT}",
            found=f"format {values.get('format')!r}",
        )
    if values.get("status") not in usable:
        scoring = values.get("status") == SCORING
        raise RunError(
            f"the run {path.name!r} is incomplete"
            + (": its scores are missing" if scoring else ""),
            fix="complete it with `cxrbench score`"
            if scoring
            else "repeat the command that started it",
        )
    name = f"{path.name}/{RUN_FILE}"
    conditions = read_conditions(values, name)
    require(values, validation.record({"files": validation.mapping_of(validation.text)}), name)
    return Run(path, conditions, values["files"])


def _json(path: Path, content: bytes) -> Any:
    try:
        value = json.loads(content.decode(), parse_constant=_refuse)
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode()  # half of a character is no text
        return value
    except (ValueError, RecursionError) as error:
        name = f"{path.parent.name}/{path.name}"
        raise RunError(f"{name} is damaged", found=str(error)) from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
