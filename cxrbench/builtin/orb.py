"""ORB: oriented FAST keypoints with rotated BRIEF descriptors, 256 bits each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxrbench import (
    VLAD,
    BagOfWords,
    Encoder,
    FeatureExtractor,
    LocalFeatures,
    Record,
    hookimpl,
)
from cxrbench.builtin._keypoints import check_ranges, strongest_first

if TYPE_CHECKING:
    import cv2
    import numpy as np

CXRBENCH_API = 1

# What OpenCV can take: zero levels or a patch of one pixel end the whole process.
_RANGES: dict[str, tuple[float, float]] = {
    "image_size": (32, 4096),
    "nfeatures": (1, 20_000),
    "fast_threshold": (1, 254),
    "scale_factor": (1.01, 4.0),
    "nlevels": (1, 32),
    "patch_size": (5, 255),
}


@dataclass(frozen=True)
class ORB(FeatureExtractor):
    """ORB by OpenCV, compared by Hamming distance.

    Parameters
    ----------
    image_size : side in pixels of the image in which keypoints are detected.
    nfeatures : maximum number of keypoints per image; the strongest are kept.
    fast_threshold : least difference in grey levels between a corner and the circle around it.
    scale_factor : factor between the sizes of successive pyramid levels.
    nlevels : number of pyramid levels.
    patch_size : side in pixels of a descriptor's patch, and width of the border without keypoints.
    clahe : apply CLAHE (local contrast equalisation) before detection.

    References
    ----------
    Rublee, Rabaud, Konolige and Bradski, ORB: an efficient alternative to SIFT or SURF, ICCV 2011.
    """

    name = "orb"
    encodings: ClassVar[Mapping[str, type[Encoder]]] = {"bow": BagOfWords, "vlad": VLAD}
    distance = "hamming"

    image_size: int = 512
    nfeatures: int = 500
    # 640 NIH films, python benchmarks/feature_baseline.py (keypoints at the 5th percentile and in
    # the median; macro AUROC of a bag of words):
    #   20, OpenCV's own:  25, 188, 0.571      with CLAHE 455, 500, 0.597
    #   10:               318, 500, 0.614
    #    7:               500, 500, 0.619
    # Other folds and seeds move a score by 0.02. That hardly any film has few keypoints decides.
    fast_threshold: int = 7
    scale_factor: float = 1.2
    nlevels: int = 8
    patch_size: int = 31
    clahe: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)

    def extract(self, image: np.ndarray | None, record: Record) -> LocalFeatures:
        """Keypoints of one image, strongest first.

        Parameters
        ----------
        image : (H, W) uint8 grey.
        record : not used.

        Returns
        -------
        Descriptors (n, 32) uint8 and keypoints (n, 4) float32, n from 0 to ``nfeatures``.
        """
        import cv2

        assert image is not None, "an extractor with an image_size is given an image"
        levels = self._levels(min(image.shape))
        keypoints: Sequence[cv2.KeyPoint] = ()
        descriptors = None
        if levels:
            if self.clahe:
                image = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(image)
            keypoints, descriptors = self._detector(levels).detectAndCompute(image, None)
        return strongest_first(keypoints, descriptors, limit=self.nfeatures, width=32)

    def _levels(self, side: int) -> int:
        # OpenCV fails on a level of no pixels; one that is all border has no keypoints anyway.
        sizes = (side / self.scale_factor**level for level in range(self.nlevels))
        return sum(size > 2 * self.patch_size for size in sizes)

    def _detector(self, levels: int) -> cv2.ORB:
        # Made for each image (0.4 µs): a detector shared by threads would be state.
        import cv2

        return cv2.ORB.create(
            nfeatures=self.nfeatures,
            scaleFactor=self.scale_factor,
            nlevels=levels,
            edgeThreshold=self.patch_size,
            patchSize=self.patch_size,
            fastThreshold=self.fast_threshold,
        )


@hookimpl
def cxrbench_feature_extractors() -> list[type[FeatureExtractor]]:
    """ORB alone."""
    return [ORB]
