"""Paths of arrays alone: gathering a batch from a store, and scoring resampled patients."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping

import numpy as np

from .path import HotPath, ImageSet, load

_STORED, _GATHERED = 512, 32
_PATIENTS, _LABELS = 500, 15
RESAMPLED, REPLICATES = 2000, 20
"""The images of ``bootstrap``, and how many resamples of their patients it draws."""


def _gather(rest: str, films: ImageSet) -> HotPath:
    """Batches of rows in no order, from pixels that are mapped as a store's are."""
    from cxrbench.modeling.inputs import Inputs

    side = films.image_size
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        drawn = np.random.default_rng(0).integers(0, 256, (_STORED, side, side), np.uint8)
        np.save(file, drawn)
        file.flush()
        pixels = np.load(file.name, mmap_mode="r")  # stays readable without its name
    inputs = Inputs(pixels, {}, np.zeros((_STORED, _LABELS), np.float32))
    order = np.random.default_rng(1).permutation(_STORED).reshape(-1, _GATHERED)

    def call() -> None:
        for rows in order:
            inputs.gather(rows)

    return HotPath("gather", "train", _STORED, call)


def _bootstrap(rest: str, films: ImageSet) -> HotPath:
    bootstrap = load("bootstrap")
    rng = np.random.default_rng(0)
    patients = rng.integers(0, _PATIENTS, RESAMPLED).astype(str)
    y_true = (rng.random((RESAMPLED, _LABELS)) < 0.2).astype(np.float32)
    y_score = (rng.random((RESAMPLED, _LABELS)) + 0.3 * y_true).astype(np.float32)
    counted = np.ones(_LABELS, bool)

    def call() -> None:
        bootstrap(y_true, y_score, patients, counted, board_key="perf", replicates=REPLICATES)

    return HotPath("bootstrap", "score", 0, call)


FAMILIES: Mapping[str, Callable[[str, ImageSet], HotPath]] = {
    "gather": _gather,
    "bootstrap": _bootstrap,
}
