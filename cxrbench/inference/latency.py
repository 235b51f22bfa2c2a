"""Time a run's model on one image after another: from the image's file to its probabilities."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import DataError
from cxrbench.inference.films import Film, films_of_cohort, prepare_film, wanted_of
from cxrbench.inference.trained import TrainedRun, load_trained
from cxrbench.interfaces import Cohort, Dataset, Display
from cxrbench.modeling.backend import hardware
from cxrbench.registry import Registry
from cxrbench.runs.additions import store_latency, stored_latency
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import read_run
from cxrbench.store.image_pass import Preparation, quiet_single_threaded_libraries

IMAGES = 20
WARM_UP = 2


def time_all(
    paths: Sequence[Path],
    registry: Registry,
    images: tuple[Dataset, Cohort, Sequence[int]],
    device: str,
    display: Display,
) -> None:
    """Time each of these runs that has a model, and store the result with the run.

    ``images`` are rows of a cohort; the first ones are used. A run that was timed before is left as
    it is.
    """
    runs = [run for run in map(read_run, paths) if run.kind is not RunKind.prior]
    with display.task("latency", len(runs)) as advance:
        for run in runs:
            if stored_latency(run) is None:
                store_latency(run, _latency(load_trained(run.path, registry), images, device))
            advance(1, run.conditions.recipe)


def _latency(
    trained: TrainedRun, images: tuple[Dataset, Cohort, Sequence[int]], device: str
) -> dict[str, Any]:
    dataset, cohort, rows = images
    wanted = wanted_of(trained)
    films = films_of_cohort(dataset, cohort, rows[: IMAGES + WARM_UP], wanted.max_pixels)
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
