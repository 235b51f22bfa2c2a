"""Time a run's model on one image after another: from the image's file to its probabilities."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import DataError
from cxrbench.inference.images import InputImage
from cxrbench.inference.inputs import ready_image
from cxrbench.inference.trained import TrainedRun, load_trained
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import hardware
from cxrbench.registry import Registry
from cxrbench.runs.additions import store_latency, stored_latency
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import read_run
from cxrbench.store.image_pass import quiet_single_threaded_libraries

IMAGES = 20
WARM_UP = 2


def time_all(
    paths: Sequence[Path],
    registry: Registry,
    images: Iterable[InputImage],
    device: str,
    display: Display,
) -> None:
    """Time each of these runs that has a model on the first images, and store that with the run.

    A run that was timed before is left as it is.
    """
    timed = list(islice(images, IMAGES + WARM_UP))
    runs = [run for run in map(read_run, paths) if run.kind is not RunKind.prior]
    with display.task("latency", len(runs)) as advance:
        for run in runs:
            if stored_latency(run) is None:
                store_latency(run, _latency(load_trained(run.path, registry), timed, device))
            advance(1, run.conditions.recipe)


def _latency(trained: TrainedRun, images: Sequence[InputImage], device: str) -> dict[str, Any]:
    with quiet_single_threaded_libraries():
        seconds = [_seconds(image, trained) for image in images]
    # The first images compile the model and fill caches.
    warm = seconds[min(WARM_UP, len(seconds) - 1) :]
    return {
        "latency_seconds": float(np.median(warm)),
        "slowest_seconds": float(np.max(warm)),
        "images": len(warm),
        "hardware": hardware("gpu" if device == "gpu" else "cpu"),
    }


def _seconds(image: InputImage, trained: TrainedRun) -> float:
    since = time.perf_counter()
    ready = ready_image(image, trained.preparation, (trained,), with_pixels=False)
    if ready.reason is not None:
        raise DataError(
            f"the image {image.name!r} cannot be read any more",
            expected="the images of the run",
            found=ready.reason,
            fix="restore the image and run the same command again",
        )
    inputs = {name: value[None] for name, value in ready.inputs.items()}
    # A GPU is done when the numbers are here.
    np.asarray(trained.model.predict_on_batch(inputs))
    return time.perf_counter() - since
