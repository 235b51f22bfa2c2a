"""A hot path: the function to call, its number of images, and its modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

MAX_PIXELS = 100_000_000

HOMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("decode", "fit_image", "clahe"), ("cxrbench.store.decoding", "cxrbench.data.images")
        ),
        "training_view": ("cxrbench.modeling.inputs", "cxrbench.modeling.view"),
        "bootstrap": ("cxrbench.metrics.bootstrap", "cxrbench.evaluation.bootstrap"),
    }
)
"""Modules by the name of the function, today's first. A move adds one in front."""


def load(name: str) -> Any:
    """The function ``name`` of this revision.

    Raises
    ------
    ImportError : no module that it was ever in has it.
    """
    for module in HOMES[name]:
        try:
            return getattr(import_module(module), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise ImportError(f"cannot import {name} from any of {', '.join(HOMES[name])}")


@dataclass(frozen=True)
class HotPath:
    """One path, set up. ``call`` does its work once, on ``images`` images.

    ``step`` is the step of a run that it is a part of. ``device`` is what its network computes on:
    ``"cpu"``, the name of a GPU, or None where there is no network.
    """

    name: str
    step: str
    images: int
    call: Callable[[], object]
    device: str | None = None


@dataclass(frozen=True)
class ImageSet:
    """Encoded radiographs (PNG, JPEG, …) that all paths work on, in one order.

    ``image_size`` is the side in pixels of stored images, ``network_size`` that of what networks
    are timed on, ``batch_size`` the images in a batch, ``device`` (``auto``, ``cpu`` or ``gpu``)
    where networks compute.
    """

    encoded: tuple[bytes, ...]
    image_size: int = 224
    network_size: int = 224
    batch_size: int = 16
    device: str = "auto"

    @classmethod
    def read(cls, folder: Path, **others: Any) -> ImageSet:
        """The files of a folder, in the order of their names; ``others`` are the other fields."""
        return cls(tuple(path.read_bytes() for path in sorted(folder.iterdir())), **others)

    def grey(self, count: int) -> list[np.ndarray]:
        """The first films decoded, (H, W) uint8; again from the first where there are fewer."""
        decode = load("decode")
        known = [decode(film, max_pixels=MAX_PIXELS) for film in self.encoded[:count]]
        return [known[number % len(known)] for number in range(count)]

    def fitted(self, count: int, size: int) -> list[np.ndarray]:
        """As `grey`, each (size, size)."""
        fit_image = load("fit_image")
        return [fit_image(film, size, "stretch") for film in self.grey(count)]
