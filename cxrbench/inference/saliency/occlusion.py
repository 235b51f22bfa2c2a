"""Saliency by occlusion, and maps enlarged to the size of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Place = tuple[int, int]
"""Row and column of the cell in a patch's upper left corner."""


@dataclass(frozen=True)
class Occlusion:
    """A square patch that moves over a square picture cell by cell.

    The picture has ``cells`` × ``cells`` cells, and the patch covers ``patch`` × ``patch`` of them:
    its side is patch/cells of the picture's, its stride 1/cells. It is filled with the picture's
    mean grey.

    References
    ----------
    Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """

    cells: int = 10
    patch: int = 2

    @property
    def places(self) -> tuple[Place, ...]:
        """Every place of the patch, row by row."""
        steps = range(self.cells - self.patch + 1)
        return tuple((row, column) for row in steps for column in steps)

    def occluded(self, image: np.ndarray, place: Place) -> np.ndarray:
        """A copy of the picture (S, S) uint8 with the patch there; S may be any side."""
        edges = np.rint(np.linspace(0, len(image), self.cells + 1)).astype(int)
        row, column = place
        rows = slice(edges[row], edges[row + self.patch])
        columns = slice(edges[column], edges[column + self.patch])
        changed = image.copy()
        changed[rows, columns] = np.rint(image.mean())
        return changed

    def map(self, falls: np.ndarray) -> np.ndarray:
        """From the fall of each logit at each place, (P, L), to (L, cells, cells) float32.

        A cell has the mean fall over the patches that cover it, and 0 where the logit rises.
        """
        total = np.zeros((falls.shape[1], self.cells, self.cells))
        covered = np.zeros((self.cells, self.cells))
        for (row, column), fall in zip(self.places, falls, strict=True):
            at = np.s_[row : row + self.patch, column : column + self.patch]
            total[:, *at] += fall[:, None, None]
            covered[at] += 1
        return np.maximum(total / covered, 0).astype(np.float32)


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
