"""The phantom's exposure: marker and wires, scatter, noise and the film curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrbench.builtin._phantom.anatomy import LEFT, RIGHT
from cxrbench.builtin._phantom.film import blurred, ellipse, strokes

if TYPE_CHECKING:
    import numpy as np


def add_marks(attenuation: np.ndarray, rng: np.random.Generator, *, view: str) -> None:
    """The side marker, and on most AP films the wires of a bedside monitor; changes its input."""
    import cv2
    import numpy as np

    size = attenuation.shape[0]
    place = (round(rng.uniform(0.86, 0.93) * size), round(rng.uniform(0.06, 0.14) * size))
    marker = np.zeros((size, size), np.uint8)
    font, width = cv2.FONT_HERSHEY_DUPLEX, max(size // 160, 1)
    cv2.putText(marker, "L", place, font, size / 440, 255, width, cv2.LINE_AA)
    attenuation += 1.2 * (marker.astype(np.float32) / 255)
    if view == "AP" and rng.uniform() < 0.7:
        attenuation += 0.16 * _wires(size, rng)


def _wires(size: int, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    t = np.linspace(0, 1, 20)
    wires, pads = [], []
    for side in (RIGHT, LEFT, LEFT):
        x, y = side * rng.uniform(0.18, 0.34), rng.uniform(0.15, 0.6)
        bend, end = rng.uniform(-0.12, 0.12, 2), side * rng.uniform(0.25, 0.5)
        path_x = x + (end - x) * t + bend[0] * np.sin(np.pi * t)
        wires.append(
            np.column_stack([path_x, y + (1.02 - y) * t + bend[1] * np.sin(2 * np.pi * t)])
        )
        pads.append(ellipse(x, y, 0.010, 0.012))
    return strokes(size, wires, 0.006) + strokes(size, pads, 0.009)


def develop(attenuation: np.ndarray, rng: np.random.Generator, *, view: str) -> np.ndarray:
    """Scatter, noise and the film curve of one exposure: (size, size) uint8."""
    import numpy as np

    size = attenuation.shape[0]
    bedside = view == "AP"
    scatter = rng.uniform(0.05, 0.20) + 0.06 * bedside
    mixed = (1 - scatter) * attenuation + scatter * blurred(attenuation, 0.08)
    # digital systems sharpen what they show
    mixed += rng.uniform(0.1, 0.7) * (mixed - blurred(mixed, 0.006))
    grain = rng.standard_normal((size, size), dtype=np.float32)
    noise = rng.uniform(0.004, 0.010)
    mixed += noise * (0.6 + 0.6 * mixed) * blurred(grain, 0.8 / size)
    middle, slope = rng.normal(0.69, 0.07), rng.uniform(3.3, 4.6)
    floor = 1 / (1 + np.exp(slope * middle))
    shown = (1 / (1 + np.exp(-slope * (mixed - middle))) - floor) / (1 - floor)
    return (shown * rng.uniform(235, 262)).clip(0, 255).astype(np.uint8)
