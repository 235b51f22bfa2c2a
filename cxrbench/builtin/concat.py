"""Concatenation: the embedding beside each feature vector after a dense layer of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cxrbench import Fusion, hookimpl

CXRBENCH_API = 1


@dataclass(frozen=True)
class Concat(Fusion):
    """Join by concatenation; ``units`` is the width of each feature vector's dense layer."""

    name: ClassVar[str] = "concat"
    units: int = 256

    def fuse(self, image: Any, features: Mapping[str, Any]) -> Any:
        """(N, C) and (N, D) each to (N, C + units * number of features)."""
        import keras

        branches = [] if image is None else [image]
        for name, vector in features.items():
            branches.append(
                keras.layers.Dense(self.units, activation="relu", name=f"{name}_dense")(vector)
            )
        if len(branches) == 1:
            return branches[0]
        return keras.layers.Concatenate(name="concat")(branches)


@hookimpl
def cxrbench_fusions() -> list[type[Fusion]]:
    return [Concat]
