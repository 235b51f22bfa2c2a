"""Time a run's model on one image after another: from the image's file to its probabilities."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from cxrbench.errors import DataError
from cxrbench.experiment.material import Material
from cxrbench.inference.films import Film, films_of_cohort, prepare_film, wanted_of
from cxrbench.inference.trained import TrainedRun, load_trained
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import hardware
from cxrbench.recipe import PRIOR
from cxrbench.registry import Registry
from cxrbench.runs.directory import (
    LATENCY_FILE,
    StoredRun,
    add_files,
    lock_of,
    read_run,
    stored_latency,
    writing,
)
from cxrbench.store.image_pass import Preparation, quiet_single_threaded_libraries

IMAGES = 20
WARM_UP = 2


def time_all(
    paths: Sequence[Path], registry: Registry, material: Material, device: str, display: Display
) -> None:
    """Time every one of these runs that has a model, and keep that with the run.

    A run that was timed already is left as it is.
    """
    runs = [run for run in map(read_run, paths) if run.info["recipe"] != PRIOR]
    with display.task("latency", len(runs)) as advance:
        for run in runs:
            if stored_latency(run) is None:
                _write(run, _told(load_trained(run.path, registry), material, device))
            advance(1, run.info["recipe"])


def _told(trained: TrainedRun, material: Material, device: str) -> dict[str, Any]:
    rows = material.rows("test")[: IMAGES + WARM_UP].tolist()
    wanted = wanted_of(trained)
    films = films_of_cohort(material.dataset, material.cohort, rows, wanted.max_pixels)
    with quiet_single_threaded_libraries():
        seconds = [_seconds(film, wanted, trained) for film in films]
    # The first images compile the model and wake what sleeps.
    timed = seconds[min(WARM_UP, len(seconds) - 1) :]
    return {
        "latency_seconds": float(np.median(timed)),
        "slowest_seconds": float(np.max(timed)),
        "images": len(timed),
        "hardware": hardware("gpu" if device == "gpu" else "cpu"),
    }


def _seconds(film: Film, wanted: Preparation, trained: TrainedRun) -> float:
    since = time.perf_counter()
    prepared = prepare_film(film, wanted, trained)
    if prepared.reason is not None:
        raise DataError(
            f"the image {film.name!r} cannot be read any more",
            expected="the images of the run",
            found=prepared.reason,
            fix="restore the image and run the same command again",
        )
    inputs = {name: value[None] for name, value in prepared.inputs.items()}
    # On a GPU it is done when the numbers are here.
    np.asarray(trained.model.predict_on_batch(inputs))
    return time.perf_counter() - since


def _write(run: StoredRun, told: dict[str, Any]) -> None:
    text = json.dumps(told, indent=2, allow_nan=False) + "\n"
    path = run.path.resolve()
    with writing(path), FileLock(lock_of(path)):
        add_files(path, {LATENCY_FILE: text.encode()})
