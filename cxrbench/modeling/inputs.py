"""What a model is fed: rows of stored pixels or embeddings, feature vectors and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Inputs:
    """Arrays over all rows of a cohort.

    ``image`` is (N, S, S) uint8 pixels or (N, ...) float32 embeddings, often memory-mapped, and
    None in a recipe without a backbone; ``features`` are (N, D) float32; ``labels`` (N, L) float32
    with NaN where unknown.
    """

    image: np.ndarray | None
    features: Mapping[str, np.ndarray]
    labels: np.ndarray

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The model's inputs for these rows, float32."""
        batch = {name: vectors[rows] for name, vectors in self.features.items()}
        if self.image is not None:
            image = self.image[rows]
            if image.dtype == np.uint8:
                image = image[..., None].astype(np.float32)
            batch["image"] = image
        return batch
