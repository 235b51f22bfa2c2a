"""What a way of training or predicting is, and what all of them are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cxrbench.store.stores import map_array

Task = Literal["train", "finetune", "infer"]
TASKS: tuple[Task, ...] = ("train", "finetune", "infer")
CXRBENCH, FIT, PNG = "cxrbench", "plain Keras", "plain Keras, PNGs"
TIMM, TIMM_FED = "timm", "timm, fed"
SHARED = {PNG: FIT, TIMM_FED: TIMM}
"""Ways that use the model of another."""

Run = Callable[[int], int]
"""Trains or predicts so many batches and returns how many images that were."""


@dataclass(frozen=True)
class Conditions:
    """The options of a measurement, as plain values: they travel to the workers as JSON.

    ``folder`` holds the store (``images`` of ``size`` pixels a side), the labels and the PNGs.
    """

    folder: str
    images: int
    size: int
    batch: int
    precision: Literal["float32", "bfloat16"]
    augment: Literal["medical", "none"]
    png_workers: int
    compiled: bool

    def array(self, name: str) -> np.ndarray:
        """``pixels`` or ``clahe``: a memory map (N, size, size) uint8."""
        path = Path(self.folder) / f"{name}-{self.size}.bin"
        return map_array(path, (self.images, self.size, self.size), np.dtype(np.uint8))

    def labels(self) -> np.ndarray:
        """(N, L) float32."""
        return np.load(Path(self.folder) / "labels.npy")

    def pngs(self) -> Sequence[Path]:
        """The files, in order."""
        return sorted(Path(self.folder).glob("*.png"))
