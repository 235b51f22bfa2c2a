"""Run directories: plain files that are complete, or clearly marked incomplete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any

import numpy as np

from cxrbench.errors import RunError
from cxrbench.output.arrays import DamagedArrays, read_arrays

FORMAT = 4
RUN_FILE = "run.json"
METRICS_FILE = "metrics.json"
LABELS_FILE = "labels.json"
BOOTSTRAP_FILE = "bootstrap.npz"
DETAILS_FILE = "bootstrap_details.npz"
SUBGROUPS_FILE = "subgroups.json"
MEASURED, EXTERNAL = "cxrbench", "external"
"""Where predictions come from: a model that was trained here, or anybody's submission."""

SCORING = "scoring"
"""The status of a run whose model and predictions are complete and whose scores are not."""

REPLICATES = ("macro_auroc", "macro_auroc_findings", "micro_auroc")
"""What is resampled for every board; `DETAILS_FILE` has the other measures, and each label's."""

# What a board is made of; the files of a run may come from anywhere.
_SCORE = (float, int, NoneType)
_INFO: Mapping[str, Any] = MappingProxyType(
    {
        **dict.fromkeys(
            ("run_key", "row_key", "board_key", "recipe", "protocol", "weights", "trains"), str
        ),
        **dict.fromkeys(
            (
                "backend",
                "device",
                "precision",
                "engine",
                "dataset",
                "fingerprint",
                "split",
                "version",
                "origin",
            ),
            str,
        ),
        **dict.fromkeys(
            ("seed", "split_seed", "devices", "train_images"),
            int,
        ),
        **dict.fromkeys(("parameters", "trainable_parameters"), (int, NoneType)),
        **dict.fromkeys(("train_seconds", "images_per_second"), _SCORE),
        **dict.fromkeys(("labels", "labels_counted", "labels_left_out"), list),
        **dict.fromkeys(("files", "scoring"), dict),
        "patients_known": bool,
        "no_finding": (str, NoneType),
    }
)
_METRICS: Mapping[str, Any] = MappingProxyType(
    {
        "images": int,
        "patients": (int, NoneType),
        **dict.fromkeys(REPLICATES, _SCORE),
    }
)


@dataclass(frozen=True)
class StoredRun:
    """A complete run, as it was read: ``info`` is ``run.json``, ``metrics`` is ``metrics.json``."""

    path: Path
    info: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def patients_known(self) -> bool:
        """Whether the run's dataset says whose images are whose."""
        return bool(self.info["patients_known"])

    @property
    def row_key(self) -> str:
        """What runs share that are seeds of one row: seeds scored in other ways have no mean."""
        return digest_of([self.info["row_key"], self.info["scoring"]])

    @cached_property
    def labels(self) -> list[dict[str, Any]]:
        """The scores of each label, ``labels.json``; read when they are first asked for.

        Raises
        ------
        RunError : the file is missing, damaged or other than the one that the run wrote.
        """
        content = _unchanged(self.path, self.info, LABELS_FILE)
        told = _json(self.path / LABELS_FILE, content)
        if not isinstance(told, list) or not all(isinstance(row, dict) for row in told):
            name = f"{self.path.name}/{LABELS_FILE}"
            raise RunError(f"{name} is damaged", expected="a list of objects")
        return told

    def replicates(self, names: Sequence[str] = REPLICATES) -> dict[str, np.ndarray]:
        """The bootstrap replicates, each (B,) float64, by names of `REPLICATES`."""
        return self._read(BOOTSTRAP_FILE, names)

    def details(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Those of other measures, float32, by names: ``macro_brier`` (B,), ``label_f1`` (L, B).

        Raises
        ------
        RunError : the file is missing, damaged or other than the one that the run wrote.
        """
        require_unchanged(self, DETAILS_FILE)
        return self._read(DETAILS_FILE, names)

    def _read(self, name: str, arrays: Sequence[str]) -> dict[str, np.ndarray]:
        try:
            return read_arrays(self.path / name, arrays)
        except DamagedArrays as error:
            raise RunError(
                f"the bootstrap replicates of the run {self.path.name!r} cannot be read",
                found=str(error),
                fix="run the same command with --force",
            ) from error


@dataclass(frozen=True)
class SkippedRun:
    """A folder among the runs that is not used, and why."""

    path: Path
    reason: str


def digest_of(value: Any) -> str:
    """SHA-256 of plain values, the same for the same values in any order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_path(
    folder: Path, *, dataset: str, recipe: str, protocol: str, seed: int, key: str
) -> Path:
    """Where the run with this key lives; the name is for people, the key makes it unique."""
    readable = re.sub(r"[^A-Za-z0-9+@.=_-]", "_", f"{dataset}-{recipe}-{protocol}-seed{seed}")
    return folder / f"{readable[:100]}-{key[:10]}"


def lock_of(path: Path) -> Path:
    """The file that is locked by whoever writes the run at ``path``."""
    return path.parent / f".{path.name}.lock"


def write_json(path: Path, value: Any) -> None:
    """Write plain values so that a reader sees the old file or the new one, never a part."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(building, path)


def is_complete(path: Path) -> bool:
    """Whether there is a run with predictions here; its files are not verified."""
    return status_of(path) in ("complete", SCORING)


def is_scored(path: Path, scoring: Mapping[str, str]) -> bool:
    """Whether the scores of the run here are complete, and made as ``scoring`` tells."""
    try:
        info = _read_json(path / RUN_FILE)
    except (RunError, FileNotFoundError):
        return False
    return info.get("status") == "complete" and info.get("scoring") == dict(scoring)


def status_of(path: Path) -> str | None:
    """What the run here says of itself; None where nothing can be read."""
    try:
        return _read_json(path / RUN_FILE).get("status")
    except (RunError, FileNotFoundError):
        return None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn failures to write a run into a `RunError` that says what is wrong."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write the run in {path}",
            found=error.strerror or str(error),
            fix="make room there or choose another folder with --runs; the same command then "
            "does this run again",
        ) from error


def require_room(path: Path, needed: int) -> None:
    """Raise `RunError` unless ``needed`` bytes are free at ``path``."""
    free = shutil.disk_usage(path).free
    if needed > free:
        raise RunError(
            f"not enough room for the run in {path}",
            expected=f"about {needed / 1e6:,.1f} MB free",
            found=f"{free / 1e6:,.1f} MB free",
            fix="make room there or choose another folder with --runs; the same command then "
            "does this run again",
        )


def begin(path: Path, info: Mapping[str, Any], *, keep: str | None = None) -> None:
    """Empty the directory, but for the folder ``keep``, and mark it incomplete."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / RUN_FILE, {**info, "format": FORMAT, "status": "incomplete"})
    for entry in path.iterdir():
        if entry.is_dir() and entry.name != keep:
            shutil.rmtree(entry)
        elif not entry.is_dir() and entry.name != RUN_FILE:
            entry.unlink()


def digests(path: Path, *, without: str | None = None) -> dict[str, str]:
    """The SHA-256 of every file of a run but ``run.json`` and those in the folder ``without``."""
    return {
        str(file.relative_to(path)): file_digest(file)
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and file.name != RUN_FILE
        and (without is None or path / without not in file.parents)
    }


def finish(
    path: Path,
    info: Mapping[str, Any],
    *,
    files: Mapping[str, str] | None = None,
    remove: str | None = None,
) -> None:
    """Mark the run complete; the last thing that a run does.

    ``files`` are its `digests`, taken now if they are not given. The folder ``remove`` was only of
    use until now.
    """
    files = digests(path, without=remove) if files is None else files
    told = {**info, "format": FORMAT, "status": "complete", "files": dict(files)}
    write_json(path / RUN_FILE, told)
    if remove is not None:
        shutil.rmtree(path / remove, ignore_errors=True)


def add_files(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a complete run, in place of others of these names, with their SHA-256.

    Killed at any instant, the run is complete with the old files, without any, or with the new
    ones. The caller holds the run's lock.
    """
    info = _read_json(path / RUN_FILE)
    files = {name: digest for name, digest in info["files"].items() if name not in contents}
    if files != info["files"]:
        write_json(path / RUN_FILE, {**info, "files": files})
    for name, content in contents.items():
        building = path / f".{name}.building"
        building.write_bytes(content)
        os.replace(building, path / name)
        files[name] = hashlib.sha256(content).hexdigest()
    write_json(path / RUN_FILE, {**info, "files": files})


def read_run(path: Path) -> StoredRun:
    """Read a complete run.

    Raises
    ------
    RunError : it is incomplete, damaged, of another format, or its scores do not match their
        digest.
    """
    info = _read_info(path, ("complete",))
    _require_unchanged(path, info, BOOTSTRAP_FILE)
    metrics = _parsed(path / METRICS_FILE, _unchanged(path, info, METRICS_FILE))
    _require(metrics, _METRICS, f"{path.name}/{METRICS_FILE}")
    return StoredRun(path, info, metrics)


def read_predicted(path: Path) -> StoredRun:
    """Read a run that has its predictions, whatever became of its scores: ``metrics`` is empty.

    Raises
    ------
    RunError : it is incomplete, damaged, or of another format.
    """
    return StoredRun(path, _read_info(path, ("complete", SCORING)), {})


def _read_info(path: Path, usable: Sequence[str]) -> dict[str, Any]:
    try:
        info = _read_json(path / RUN_FILE)
    except FileNotFoundError as error:
        raise RunError(f"{path.name!r} has no {RUN_FILE}", fix="name a run directory") from error
    if info.get("format") != FORMAT:
        raise RunError(
            f"the run {path.name!r} was written by another version of cxrbench",
            expected=f"format {FORMAT}",
            found=f"format {info.get('format')!r}",
        )
    if info.get("status") not in usable:
        scoring = info.get("status") == SCORING
        raise RunError(
            f"the run {path.name!r} is incomplete" + (": its scores are" if scoring else ""),
            fix="`cxrbench score` finishes it"
            if scoring
            else "the command that started it finishes it",
        )
    _require(info, _INFO, f"{path.name}/{RUN_FILE}")
    return info


@contextmanager
def scoring_again(
    run: StoredRun, scoring: Mapping[str, str], names: Iterable[str]
) -> Iterator[None]:
    """Replace the files ``names`` of a run inside; it is marked until they are all there.

    A run that stays marked has its predictions, from which the same files can be made.
    """
    told = {**run.info, "scoring": dict(scoring)}
    write_json(run.path / RUN_FILE, {**told, "status": SCORING})
    yield
    digests = {name: file_digest(run.path / name) for name in names}
    files = {**run.info["files"], **digests}
    write_json(run.path / RUN_FILE, {**told, "status": "complete", "files": files})


def require_unchanged(run: StoredRun, name: str) -> None:
    """Raise `RunError` unless this file of the run is there, and is what the run wrote."""
    _require_unchanged(run.path, run.info, name)


def _require_unchanged(path: Path, info: Mapping[str, Any], name: str) -> None:
    if not (path / name).is_file() or file_digest(path / name) != info["files"].get(name):
        raise _changed(path, name)


def _unchanged(path: Path, info: Mapping[str, Any], name: str) -> bytes:
    """The content of a file of a run, read once, if it is what the run wrote."""
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise _changed(path, name) from error
    if hashlib.sha256(content).hexdigest() != info["files"].get(name):
        raise _changed(path, name)
    return content


def _changed(path: Path, name: str) -> RunError:
    return RunError(
        f"{name} of the run {path.name!r} is missing or was changed after the run",
        fix="run the same command with --force",
    )


def _require(values: Mapping[str, Any], kinds: Mapping[str, Any], name: str) -> None:
    for key, kind in kinds.items():
        if not isinstance(values.get(key), kind):
            raise RunError(
                f"{name} is damaged: {key!r} is not what a run writes",
                found=repr(values.get(key)),
                fix="run the same command with --force",
            )


def read_runs(folder: Path) -> tuple[tuple[StoredRun, ...], tuple[SkippedRun, ...]]:
    """Every complete run below ``folder``, and what was skipped; folders without a run are ignored.

    Raises
    ------
    RunError : there is no such folder.
    """
    if not folder.is_dir():
        raise RunError(
            f"there are no runs at {folder}",
            expected="a folder of run directories",
            found="no folder",
            fix="start with `cxrbench run RECIPE…`, or name the folder with --runs",
        )
    runs: dict[str, StoredRun] = {}
    skipped = []
    for path in sorted(folder.iterdir()):
        if not (path / RUN_FILE).exists():
            continue
        try:
            run = read_run(path)
        except RunError as error:
            skipped.append(SkippedRun(path, str(error).splitlines()[0]))
            continue
        # A copy is no second seed: counted twice it would shrink the spread over seeds.
        first = runs.setdefault(run.info["run_key"], run)
        if first is not run:
            reason = f"{path.name!r} is a copy of the run {first.path.name!r}"
            skipped.append(SkippedRun(path, reason))
    return tuple(runs.values()), tuple(skipped)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _damaged(path, str(error)) from error
    return _parsed(path, content)


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    value = _json(path, content)
    if not isinstance(value, dict):
        raise RunError(f"{path.parent.name}/{path.name} is damaged", expected="a JSON object")
    return value


def _json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, found: str) -> RunError:
    return RunError(f"{path.parent.name}/{path.name} is damaged", found=found)
