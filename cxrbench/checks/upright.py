"""Whether a film is shown as usual, bones white on dark lungs, or as a negative."""

from __future__ import annotations

import numpy as np

# The mean of nih-mini's 640 frontal films (480 patients) at 8 x 8, centred, scaled to length 100:
# dark corners above the shoulders, a white spine, white below the diaphragm.
_USUAL = np.array(
    [
        [-27, -23, -17, 0, 1, -15, -22, -26],
        [-6, -2, -8, -3, -1, -9, -2, -5],
        [3, 2, -14, -4, 0, -15, 0, 3],
        [0, 1, -12, 2, 7, -11, -1, 0],
        [-5, 1, -6, 9, 14, -1, -1, -5],
        [-9, 4, 6, 16, 19, 9, 2, -8],
        [-12, 9, 18, 22, 22, 16, 7, -12],
        [-14, 12, 22, 25, 25, 20, 10, -14],
    ],
    np.float32,
)


def upright_score(image: np.ndarray) -> float:
    """Correlation (-1 to 1) of a film (H, W) uint8 with the usual distribution of light.

    A negative has exactly the opposite. Of nih-mini's 640 films none is below 0 (the least is 0.20)
    when the usual one is taken from other patients, so that none of their negatives is above; nor
    is any of 260 films of the phantom. 0 for an image that is all the same.
    """
    import cv2

    cells = cv2.resize(image, _USUAL.shape, interpolation=cv2.INTER_AREA).astype(np.float32)
    cells -= cells.mean()
    usual = _USUAL - _USUAL.mean()
    size = np.linalg.norm(cells) * np.linalg.norm(usual)
    return float((cells * usual).sum() / size) if size else 0.0
