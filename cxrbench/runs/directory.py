"""Write run directories: plain files that are complete, or clearly marked incomplete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrbench.errors import RunError
from cxrbench.runs.conditions import Conditions
from cxrbench.runs.run import (
    COMPLETE,
    FORMAT,
    INCOMPLETE,
    RUN_FILE,
    SCORING,
    Run,
    file_digest,
    read_run_file,
)


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
    return _state(path)[0] in (COMPLETE, SCORING)


def is_scored(path: Path, scoring: Mapping[str, str]) -> bool:
    """Whether the scores of the run here are complete, and made in the way of ``scoring``."""
    return _state(path) == (COMPLETE, dict(scoring))


def _state(path: Path) -> tuple[Any, Any]:
    """The status and the scoring in ``run.json``; None each where it cannot be read."""
    try:
        values = read_run_file(path)
    except (RunError, FileNotFoundError):
        return None, None
    return values.get("status"), values.get("scoring")


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


def begin(path: Path, conditions: Conditions, *, keep: str | None = None) -> None:
    """Empty the directory, but for the folder ``keep``, and mark it incomplete."""
    path.mkdir(parents=True, exist_ok=True)
    _write(path, conditions, INCOMPLETE, {})
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
    conditions: Conditions,
    *,
    files: Mapping[str, str] | None = None,
    remove: str | None = None,
) -> None:
    """Mark the run complete; the last thing that a run does.

    ``files`` are its `digests`, taken now if they are not given. The folder ``remove`` was only of
    use until now.
    """
    _write(path, conditions, COMPLETE, digests(path, without=remove) if files is None else files)
    if remove is not None:
        shutil.rmtree(path / remove, ignore_errors=True)


@contextmanager
def scoring_again(run: Run, scoring: Mapping[str, str], names: Iterable[str]) -> Iterator[None]:
    """Replace the files ``names`` of a run inside; it is marked until they are all there.

    A run that stays marked has its predictions, from which the same files can be made.
    """
    conditions = replace(run.conditions, scoring=dict(scoring))
    _write(run.path, conditions, SCORING, run.files)
    yield
    changed = {name: file_digest(run.path / name) for name in names}
    _write(run.path, conditions, COMPLETE, {**run.files, **changed})


def _write(path: Path, conditions: Conditions, status: str, files: Mapping[str, str]) -> None:
    values = {**conditions.to_json(), "format": FORMAT, "status": status, "files": dict(files)}
    write_json(path / RUN_FILE, values)


def add_files(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a complete run, in place of others of these names, with their SHA-256.

    Killed at any instant, the run is complete with the old files, without any, or with the new
    ones. The caller holds the run's lock.
    """
    values = read_run_file(path)
    files = {name: digest for name, digest in values["files"].items() if name not in contents}
    if files != values["files"]:
        write_json(path / RUN_FILE, {**values, "files": files})
    for name, content in contents.items():
        building = path / f".{name}.building"
        building.write_bytes(content)
        os.replace(building, path / name)
        files[name] = hashlib.sha256(content).hexdigest()
    write_json(path / RUN_FILE, {**values, "files": files})
