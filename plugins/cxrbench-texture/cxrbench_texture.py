"""Texture of the whole image: HOG, LBP and GLCM, by scikit-image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxrbench import (
    CxrbenchError,
    Encoder,
    FeatureExtractor,
    Identity,
    LocalFeatures,
    Record,
    hookimpl,
)

if TYPE_CHECKING:
    import numpy as np

CXRBENCH_API = 1

_GLCM_PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
_GLCM_DISTANCES = (1, 2, 4)


def _check(part: FeatureExtractor, ranges: Mapping[str, tuple[int, int]]) -> None:
    for field, (low, high) in ranges.items():
        value = getattr(part, field)
        if not low <= value <= high:
            raise CxrbenchError(
                f"{part.name}: {field} is out of range",
                expected=f"a whole number from {low} to {high}",
                found=str(value),
                fix=f"write for example {part.name}:{field}={getattr(type(part), field)}",
            )


@dataclass(frozen=True)
class HOG(FeatureExtractor):
    """Histograms of oriented gradients, in cells, normalised in blocks of 2 × 2 cells.

    Parameters
    ----------
    image_size : side of the image in pixels.
    orientations : number of directions of a histogram.
    cell : side of a cell in pixels.

    References
    ----------
    Dalal and Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
    """

    name = "hog"
    encodings: ClassVar[Mapping[str, type[Encoder]]] = {"identity": Identity}

    image_size: int = 128
    orientations: int = 9
    cell: int = 16

    def __post_init__(self) -> None:
        _check(self, {"image_size": (32, 4096), "orientations": (2, 180), "cell": (4, 2048)})
        if self.image_size < 2 * self.cell:
            raise CxrbenchError(
                f"{self.name}: a block of 2 × 2 cells is larger than the image",
                expected="image_size of at least 2 * cell",
                found=f"image_size={self.image_size}, cell={self.cell}",
            )

    def extract(self, image: np.ndarray | None, record: Record) -> LocalFeatures:
        """One row (1, blocks * 4 * orientations) float32; 1,764 numbers by default."""
        import numpy as np
        from skimage.feature import hog

        assert image is not None, "an extractor with an image_size gets an image"
        vector = hog(
            image,
            orientations=self.orientations,
            pixels_per_cell=(self.cell, self.cell),
            cells_per_block=(2, 2),
        )
        return LocalFeatures(vector.astype(np.float32)[None])


@dataclass(frozen=True)
class LBP(FeatureExtractor):
    """Shares of the uniform local binary patterns in each cell of a grid.

    Parameters
    ----------
    image_size : side of the image in pixels.
    points, radius : of the circle around a pixel that it is compared with.
    grid : cells along each side.

    References
    ----------
    Ojala, Pietikäinen and Mäenpää, Multiresolution Gray-Scale and Rotation Invariant Texture
    Classification with Local Binary Patterns, IEEE TPAMI 2002.
    """

    name = "lbp"
    encodings: ClassVar[Mapping[str, type[Encoder]]] = {"identity": Identity}

    image_size: int = 256
    points: int = 8
    radius: int = 1
    grid: int = 4

    def __post_init__(self) -> None:
        _check(
            self,
            {"image_size": (32, 4096), "points": (4, 32), "radius": (1, 16), "grid": (1, 16)},
        )

    def extract(self, image: np.ndarray | None, record: Record) -> LocalFeatures:
        """One row (1, grid * grid * (points + 2)) float32; each cell's shares sum to 1."""
        import numpy as np
        from skimage.feature import local_binary_pattern

        assert image is not None, "an extractor with an image_size gets an image"
        codes = local_binary_pattern(image, self.points, self.radius, method="uniform")
        # At the border the circle leaves the image, and scikit-image compares with black.
        codes = codes[self.radius : -self.radius, self.radius : -self.radius]
        patterns = self.points + 2  # points + 1 uniform ones, and all others together
        histograms = [
            np.bincount(cell.astype(np.int64).ravel(), minlength=patterns) / cell.size
            for band in np.array_split(codes, self.grid, axis=0)
            for cell in np.array_split(band, self.grid, axis=1)
        ]
        return LocalFeatures(np.concatenate(histograms).astype(np.float32)[None])


@dataclass(frozen=True)
class GLCM(FeatureExtractor):
    """Properties of grey level co-occurrence matrices at 1, 2 and 4 pixels in four directions.

    Parameters
    ----------
    image_size : side of the image in pixels.
    levels : number of grey levels.

    References
    ----------
    Haralick, Shanmugam and Dinstein, Textural Features for Image Classification, IEEE Transactions
    on Systems, Man, and Cybernetics 1973.
    """

    name = "glcm"
    encodings: ClassVar[Mapping[str, type[Encoder]]] = {"identity": Identity}

    image_size: int = 256
    levels: int = 32

    def __post_init__(self) -> None:
        _check(self, {"image_size": (32, 4096), "levels": (2, 256)})

    def extract(self, image: np.ndarray | None, record: Record) -> LocalFeatures:
        """One row (1, 72) float32: six properties of twelve matrices."""
        import numpy as np
        from skimage.feature import graycomatrix, graycoprops

        assert image is not None, "an extractor with an image_size gets an image"
        coarse = (image.astype(np.uint16) * self.levels // 256).astype(np.uint8)
        directions = np.arange(4) * np.pi / 4
        matrices = graycomatrix(
            coarse, _GLCM_DISTANCES, directions, levels=self.levels, symmetric=True, normed=True
        )
        properties = [graycoprops(matrices, name).ravel() for name in _GLCM_PROPERTIES]
        return LocalFeatures(np.concatenate(properties).astype(np.float32)[None])


@hookimpl
def cxrbench_feature_extractors() -> list[type[FeatureExtractor]]:
    """All three."""
    return [HOG, LBP, GLCM]
