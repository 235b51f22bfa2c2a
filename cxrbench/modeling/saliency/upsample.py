"""From the few cells of a saliency map to the pixels of what the network sees."""

from __future__ import annotations

import numpy as np


def upsampled(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps (N, h, w) as (N, size, size) float32, bilinear between the centres of the cells.

    Outside the outermost centres the values go on as they are at the edge.
    """
    import cv2

    result = np.empty((len(maps), size, size), np.float32)
    for coarse, fine in zip(maps, result, strict=True):
        cv2.resize(
            np.ascontiguousarray(coarse, np.float32),
            (size, size),
            dst=fine,
            interpolation=cv2.INTER_LINEAR,
        )
    return result
