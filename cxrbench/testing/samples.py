"""Images and records to check with: drawn films, and what no film looks like."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cxrbench.builtin.phantom import Phantom
from cxrbench.interfaces import Record

_SIDE = 192


def films(count: int) -> list[np.ndarray]:
    """Drawn radiographs, each (192, 192) uint8."""
    phantom = Phantom(patients=max(20, count), size=_SIDE)
    sources = phantom.load().sources[:count]
    return [phantom.read(source, max_pixels=_SIDE**2) for source in sources]


def ugly_images() -> Mapping[str, np.ndarray]:
    """What a folder may hold besides films, by name: grey uint8 of several shapes."""
    rng = np.random.default_rng(0)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    return {
        "black": np.zeros((64, 64), np.uint8),
        "white": np.full((64, 64), 255, np.uint8),
        "all grey": np.full((64, 64), 128, np.uint8),
        "16 x 16 pixels": rng.integers(0, 256, (16, 16)).astype(np.uint8),
        "16 pixels high": rng.integers(0, 256, (16, 200)).astype(np.uint8),
        "16 pixels wide": rng.integers(0, 256, (200, 16)).astype(np.uint8),
        "a ramp": ramp,
        "a chessboard": board,
        "noise": rng.integers(0, 256, (96, 96)).astype(np.uint8),
        "one bright pixel": np.pad(np.full((1, 1), 255, np.uint8), 40),
    }


def record(number: int) -> Record:
    """A record that differs from number to number; some know nothing but their name."""
    if number % 4 == 3:
        return Record(f"image{number}")
    return Record(
        f"image{number}", age=20.0 + number, sex="FM"[number % 2], view=("PA", "AP")[number % 3 > 0]
    )
