"""Write run directories: plain files, complete or clearly marked as incomplete."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrbench.errors import RunError
from cxrbench.output.files import (
    Destination,
    file_digest,
    remove_link,
    write_bytes,
    write_json,
)
from cxrbench.runs.conditions import Conditions
from cxrbench.runs.run import COMPLETE, FORMAT, INCOMPLETE, RUN_FILE, SCORING, Run, read_run_file

# What a kill leaves of a file that was being written.
_TEMPORARY = re.compile(r"(\.\d+)?\.tmp$")
# Everything that a run writes, and has written in earlier versions.
_WRITTEN = re.compile(
    r"run\.json|settings\.toml|predictions\.parquet|model\.(weights\.h5|keras)|encoders|checkpoint"
    r"|(metrics|labels|subgroups|latency|saliency)\.json|(bootstrap|bootstrap_\w+|saliency)\.npz"
    r"|(history|excluded|train_metadata|val_metadata|test_metadata)\.csv"
)

RUN = Destination(
    "the run in",
    RunError,
    "choose another folder with --runs; the same command then repeats this run",
)
STORED_RUN = Destination(
    "the scores of the run",
    RunError,
    "make its directory writable, or copy it into a folder that is, and name that with --runs",
)
"""A complete run that scores are added to, or written anew."""


def run_path(
    folder: Path, *, dataset: str, recipe: str, protocol: str, seed: int, key: str
) -> Path:
    """Where the run with this key lives; the name is for people, the key makes it unique."""
    readable = re.sub(r"[^A-Za-z0-9+@.=_-]", "_", f"{dataset}-{recipe}-{protocol}-seed{seed}")
    return folder / f"{readable[:100]}-{key[:10]}"


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


def begin(path: Path, conditions: Conditions, *, keep: str | None = None) -> None:
    """Remove the files of a run but not the folder ``keep``, and mark the directory incomplete.

    Other files in a run directory stay, and so does what a link leads to.

    Raises
    ------
    RunError : the directory is a link, or has files and is no run directory.
    """
    require_directory(path)
    path.mkdir(parents=True, exist_ok=True)
    entries = sorted(path.iterdir())
    if not (path / RUN_FILE).exists() and (others := [e for e in entries if not _is_of_run(e)]):
        raise RunError(
            f"{path} is not a run directory",
            expected="no folder of this name, or a run directory",
            found=f"a folder with other files, such as {others[0].name}",
            fix="move it, or choose another folder with --runs",
        )
    remove_link(path / RUN_FILE)
    _write(path, conditions, INCOMPLETE, {})
    for entry in entries:
        if entry.name in (keep, RUN_FILE) and not entry.is_symlink():
            continue
        if _is_of_run(entry):
            _remove(entry)


def require_directory(path: Path) -> None:
    """Raise `RunError` if the directory of a run is a link: only the directory itself is written.

    In a shared folder of runs, somebody else may have made the link, and it may lead anywhere.
    """
    if path.is_symlink():
        raise RunError(
            f"the run directory {path} is a link, so nothing is written through it",
            expected="a directory",
            found=f"a link to {os.path.realpath(path)}",
            fix="remove the link, or name the directory that it leads to",
        )


def _is_of_run(entry: Path) -> bool:
    """Whether a run writes a file or folder of this name."""
    return _WRITTEN.fullmatch(_TEMPORARY.sub("", entry.name)) is not None


def _remove(entry: Path) -> None:
    if entry.is_symlink() or not entry.is_dir():
        entry.unlink(missing_ok=True)
    else:
        shutil.rmtree(entry)  # never follows a link


def digests(path: Path, *, without: str | None = None) -> dict[str, str]:
    """The SHA-256 of every file of a run but ``run.json`` and those in the folder ``without``."""
    return {
        str(file.relative_to(path)): file_digest(file)
        for entry in sorted(path.iterdir())
        if _is_of_run(entry) and entry.name not in (RUN_FILE, without)
        for file in (sorted(entry.rglob("*")) if entry.is_dir() else (entry,))
        if file.is_file()
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
        with suppress(OSError):
            _remove(path / remove)


@contextmanager
def scoring_again(run: Run, scoring: Mapping[str, str], names: Iterable[str]) -> Iterator[None]:
    """Replace the files ``names`` of a run inside; it is marked until they are all there.

    A run that stays marked has its predictions, from which the same files can be made.
    """
    require_directory(run.path)
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

    Raises
    ------
    RunError : the directory is a link.
    """
    require_directory(path)
    values = read_run_file(path)
    files = {name: digest for name, digest in values["files"].items() if name not in contents}
    if files != values["files"]:
        write_json(path / RUN_FILE, {**values, "files": files})
    for name, content in contents.items():
        write_bytes(path / name, content)
        files[name] = hashlib.sha256(content).hexdigest()
    write_json(path / RUN_FILE, {**values, "files": files})
