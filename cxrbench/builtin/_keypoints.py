"""What ORB and SIFT share: ranges of parameters, and OpenCV's keypoints as local features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cxrbench import CxrbenchError, FeatureExtractor, LocalFeatures

if TYPE_CHECKING:
    import cv2
    import numpy as np


def check_ranges(part: FeatureExtractor, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise `CxrbenchError` for a field outside its (lowest, highest) value."""
    for field, (low, high) in ranges.items():
        value = getattr(part, field)
        if not low <= value <= high:
            raise CxrbenchError(
                f"{part.name}: {field} is out of range",
                expected=f"a value from {low:g} to {high:g}",
                found=str(value),
                fix=f"write for example {part.name}:{field}={getattr(type(part), field)}",
            )


def strongest_first(
    keypoints: Sequence[cv2.KeyPoint], descriptors: np.ndarray | None, *, limit: int, width: int
) -> LocalFeatures:
    """The strongest keypoints in an order that does not depend on the detector's.

    ``descriptors`` (n, width) uint8, or None where OpenCV found nothing. The cut is made here:
    among equal responses OpenCV keeps more than it was asked for.
    """
    import numpy as np

    if not keypoints or descriptors is None:
        return LocalFeatures(np.zeros((0, width), np.uint8), np.zeros((0, 4), np.float32))
    table = np.array(
        [(-k.response, k.pt[1], k.pt[0], k.size, k.angle) for k in keypoints], np.float32
    )
    order = np.lexsort(table.T[::-1])[:limit]
    return LocalFeatures(descriptors[order], table[order][:, [2, 1, 3, 4]])
