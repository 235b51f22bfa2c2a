"""Run directories: plain files that are complete, or clearly marked incomplete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import RunError

FORMAT = 1
RUN_FILE = "run.json"
METRICS_FILE = "metrics.json"
BOOTSTRAP_FILE = "bootstrap.npz"
REPLICATES = ("macro_auroc", "macro_auroc_findings", "micro_auroc")


@dataclass(frozen=True)
class StoredRun:
    """A complete run, as it was read: ``info`` is ``run.json``, ``metrics`` is ``metrics.json``."""

    path: Path
    info: Mapping[str, Any]
    metrics: Mapping[str, Any]

    def replicates(self) -> dict[str, np.ndarray]:
        """The bootstrap replicates, each (B,) float64, by the names in `REPLICATES`."""
        try:
            with np.load(self.path / BOOTSTRAP_FILE, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in REPLICATES}
        except (OSError, ValueError, KeyError, EOFError) as error:
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


def write_json(path: Path, value: Any) -> None:
    """Write plain values so that a reader sees the old file or the new one, never a part."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(building, path)


def is_complete(path: Path) -> bool:
    """Whether there is a finished run here; its files are not verified."""
    try:
        return bool(_read_json(path / RUN_FILE).get("status") == "complete")
    except (RunError, FileNotFoundError):
        return False


def begin(path: Path, info: Mapping[str, Any]) -> None:
    """Empty the directory and mark it incomplete."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / RUN_FILE, {**info, "format": FORMAT, "status": "incomplete"})
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != RUN_FILE:
            entry.unlink()


def finish(path: Path, info: Mapping[str, Any]) -> None:
    """Mark the run complete, with the SHA-256 of every file; the last thing that a run does."""
    files = {
        str(file.relative_to(path)): file_digest(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != RUN_FILE
    }
    write_json(path / RUN_FILE, {**info, "format": FORMAT, "status": "complete", "files": files})


def read_run(path: Path) -> StoredRun:
    """Read a complete run.

    Raises
    ------
    RunError : it is incomplete, of another format, or its scores do not match their digest.
    """
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
    if info.get("status") != "complete":
        raise RunError(
            f"the run {path.name!r} is incomplete",
            fix="the command that started it finishes it",
        )
    for name in (METRICS_FILE, BOOTSTRAP_FILE):
        if not (path / name).is_file() or file_digest(path / name) != info["files"].get(name):
            raise RunError(
                f"{name} of the run {path.name!r} is missing or was changed after the run",
                fix="run the same command with --force",
            )
    return StoredRun(path, info, _read_json(path / METRICS_FILE))


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
    runs, skipped = [], []
    for path in sorted(folder.iterdir()):
        if not (path / RUN_FILE).exists():
            continue
        try:
            runs.append(read_run(path))
        except RunError as error:
            skipped.append(SkippedRun(path, str(error).splitlines()[0]))
    return tuple(runs), tuple(skipped)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path.parent.name}/{path.name} is damaged", found=str(error)) from error
    if not isinstance(value, dict):
        raise RunError(f"{path.parent.name}/{path.name} is damaged", expected="a JSON object")
    return value
