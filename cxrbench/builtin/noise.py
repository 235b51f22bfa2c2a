"""Noise: random numbers in place of a feature. A recipe must not lose by it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from cxrbench import (
    CxrbenchError,
    Encoder,
    FeatureExtractor,
    Identity,
    LocalFeatures,
    Record,
    hookimpl,
)

CXRBENCH_API = 1


@dataclass(frozen=True)
class Noise(FeatureExtractor):
    """Normally distributed numbers that depend on the name of the image alone; no pixels.

    There is nothing to learn from them: the difference that this part makes to a recipe is caused
    by the fusion and the head, and by chance.

    Parameters
    ----------
    size : number of random numbers per image; 256 is the length of a bag of visual words.
    seed : another seed draws other numbers.
    """

    name = "noise"
    image_size = None
    encodings: ClassVar[Mapping[str, type[Encoder]]] = {"identity": Identity}

    size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 65_536:
            raise CxrbenchError(
                f"noise: size cannot be {self.size}", expected="a whole number from 1 to 65536"
            )
        if not 0 <= self.seed < 2**32:
            raise CxrbenchError(
                f"noise: seed cannot be {self.seed}",
                expected=f"a whole number from 0 to {2**32 - 1}",
            )

    def extract(self, image: object, record: Record) -> LocalFeatures:
        """One row (1, size) float32 from a standard normal distribution."""
        import numpy as np

        digest = hashlib.sha256(f"{self.seed}:{record.image_id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return LocalFeatures(rng.standard_normal((1, self.size), dtype=np.float32))


@hookimpl
def cxrbench_feature_extractors() -> list[type[FeatureExtractor]]:
    """Noise alone."""
    return [Noise]
