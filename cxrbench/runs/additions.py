"""What is added to a run after it is complete: the scores of its saliency, and its latency."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from filelock import FileLock

from cxrbench.errors import RunError
from cxrbench.output.arrays import DamagedArrays, read_arrays
from cxrbench.runs.directory import StoredRun, add_files, lock_of, require_unchanged, writing

LATENCY_FILE = "latency.json"
SALIENCY_FILE = "saliency.json"
SALIENCY_BOOTSTRAP_FILE = "saliency.npz"


def stored_saliency(run: StoredRun) -> dict[str, Any] | None:
    """The content of ``saliency.json``, None if the saliency of the run was not scored.

    Raises
    ------
    RunError : the file is not the one that was written.
    """
    return _stored(run, SALIENCY_FILE)


def saliency_replicates(run: StoredRun, measures: Sequence[str]) -> dict[str, np.ndarray]:
    """The bootstrap replicates (B,) of these measures of the run's saliency.

    Raises
    ------
    RunError : they are missing or damaged.
    """
    require_unchanged(run, SALIENCY_BOOTSTRAP_FILE)
    try:
        return read_arrays(run.path / SALIENCY_BOOTSTRAP_FILE, measures)
    except DamagedArrays as error:
        raise RunError(
            f"the saliency replicates of the run {run.path.name!r} cannot be read",
            found=str(error),
            fix="score it again with `cxrbench localise --force`",
        ) from error


def store_saliency(
    run: StoredRun, scores: Mapping[str, Any], replicates: Mapping[str, np.ndarray]
) -> None:
    """Write the scores and their replicates into the run directory."""
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **replicates)  # type: ignore[arg-type]
    _store(run, {SALIENCY_FILE: _json(scores), SALIENCY_BOOTSTRAP_FILE: arrays.getvalue()})


def stored_latency(run: StoredRun) -> float | None:
    """Seconds from the file of one image to its probabilities; None if they were not measured.

    Raises
    ------
    RunError : the file is not the one that was written.
    """
    values = _stored(run, LATENCY_FILE)
    return None if values is None else float(values["latency_seconds"])


def store_latency(run: StoredRun, values: Mapping[str, Any]) -> None:
    """Write ``latency.json`` into the run directory; ``values`` has ``latency_seconds``."""
    _store(run, {LATENCY_FILE: _json(values)})


def _stored(run: StoredRun, name: str) -> dict[str, Any] | None:
    if name not in run.info["files"]:
        return None
    require_unchanged(run, name)
    values: dict[str, Any] = json.loads((run.path / name).read_text(encoding="utf-8"))
    return values


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()


def _store(run: StoredRun, contents: Mapping[str, bytes]) -> None:
    path = run.path.resolve()
    with writing(path), FileLock(lock_of(path)):
        add_files(path, contents)
