"""Files that are added to a complete run: saliency scores and latency."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxrbench.output.files import lock_of, locked
from cxrbench.runs import validation
from cxrbench.runs.directory import STORED_RUN, add_files, require_directory
from cxrbench.runs.run import Run

LATENCY_FILE = "latency.json"
SALIENCY_FILE = "saliency.json"
SALIENCY_BOOTSTRAP_FILE = "saliency.npz"


def stored_saliency(run: Run) -> dict[str, Any] | None:
    """The content of ``saliency.json``, None if the saliency of the run was not scored.

    Raises
    ------
    RunError : the file is not the one that was written.
    """
    if SALIENCY_FILE not in run.files:
        return None
    scores: dict[str, Any] = run.read_json(SALIENCY_FILE, validation.SALIENCY)
    return scores


def saliency_replicates(run: Run, measures: Sequence[str]) -> dict[str, np.ndarray]:
    """The bootstrap replicates (B,) of these measures of the run's saliency.

    Raises
    ------
    RunError : they are missing or damaged.
    """
    fix = "score it again with `cxrbench localise --force`"
    arrays = run.read_arrays(SALIENCY_BOOTSTRAP_FILE, measures, fix=fix)
    count = (stored_saliency(run) or {})["bootstrap"].get("replicates")
    if any(len(array) != count for array in arrays.values()):
        name = f"{run.name}/{SALIENCY_BOOTSTRAP_FILE}"
        raise validation.damaged(name, f"it has not {count} replicates", "others")
    return arrays


def store_saliency(
    run: Run, scores: Mapping[str, Any], replicates: Mapping[str, np.ndarray]
) -> None:
    """Write the scores and their replicates into the run directory."""
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **replicates)  # type: ignore[arg-type]
    _store(run, {SALIENCY_FILE: _json(scores), SALIENCY_BOOTSTRAP_FILE: arrays.getvalue()})


def stored_latency(run: Run) -> float | None:
    """Seconds from the file of one image to its probabilities; None if they were not measured.

    Raises
    ------
    RunError : the file is not the one that was written.
    """
    if LATENCY_FILE not in run.files:
        return None
    seconds: float = run.read_json(LATENCY_FILE, validation.LATENCY)["latency_seconds"]
    return seconds


def store_latency(run: Run, values: Mapping[str, Any]) -> None:
    """Write ``latency.json`` into the run directory; ``values`` has ``latency_seconds``."""
    _store(run, {LATENCY_FILE: _json(values)})


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()


def _store(run: Run, contents: Mapping[str, bytes]) -> None:
    require_directory(run.path)
    path = run.path.resolve()
    with STORED_RUN.writing(path), locked([lock_of(path)]):
        add_files(path, contents)
