"""SIFT: what it finds, against OpenCV called directly, and RootSIFT in closed form."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cxrbench import CxrbenchError, Record
from cxrbench.builtin.sift import SIFT, cxrbench_feature_extractors

RECORD = Record("film")


def film(side: int = 256) -> np.ndarray:
    """Soft blobs of several sizes."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (side // 8, side // 8), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def test_finds_what_opencv_finds() -> None:
    image = film()
    # OpenCV's own output is float32: nothing may be lost by keeping bytes.
    found, expected = cv2.SIFT.create(500).detectAndCompute(image, None)
    features = SIFT().extract(image, RECORD)
    assert features.descriptors.dtype == np.uint8
    assert features.keypoints is not None
    assert len(features.descriptors) == min(len(found), 500)
    direct = {
        (*np.float32((*point.pt, point.size, point.angle)).tolist(), tuple(row))
        for point, row in zip(found, expected.tolist(), strict=True)
    }
    ours = {
        (*point, tuple(float(value) for value in row))
        for point, row in zip(
            features.keypoints.tolist(), features.descriptors.tolist(), strict=True
        )
    }
    assert ours <= direct


def test_never_more_than_asked_for() -> None:
    image = film()
    beyond = [n for n in range(1, 60) if len(cv2.SIFT.create(n).detect(image, None)) > n]
    assert beyond, "this image no longer shows OpenCV's surplus: find another"
    for n in beyond:
        assert len(SIFT(nfeatures=n).extract(image, RECORD).descriptors) == n


def test_fewer_features_are_the_first_of_more() -> None:
    few, many = (SIFT(nfeatures=n).extract(film(), RECORD) for n in (10, 50))
    np.testing.assert_array_equal(few.descriptors, many.descriptors[:10])


@pytest.mark.parametrize("shape", [(512, 512), (8, 8), (1, 1), (1, 300)])
@pytest.mark.parametrize("clahe", [False, True])
def test_no_keypoints_is_an_empty_array(shape: tuple[int, int], clahe: bool) -> None:
    features = SIFT(clahe=clahe).extract(np.full(shape, 90, np.uint8), RECORD)
    assert (features.descriptors.shape, features.descriptors.dtype) == ((0, 128), np.uint8)
    assert features.keypoints is not None
    assert (features.keypoints.shape, features.keypoints.dtype) == ((0, 4), np.float32)


@pytest.mark.parametrize(
    ("field", "value"),
    [("nfeatures", 0), ("contrast_threshold", -0.1), ("sigma", 0.0), ("edge_threshold", 0.0)],
)
def test_a_value_that_cannot_work_is_explained(field: str, value: float) -> None:
    with pytest.raises(CxrbenchError, match=rf"sift: {field} is out of range\n +expected: a value"):
        SIFT(**{field: value})  # type: ignore[arg-type]


def test_root_sift() -> None:
    stored = np.zeros((3, 128), np.uint8)
    stored[0, 5] = 255
    stored[1, :4] = [1, 2, 3, 10]
    vectors = SIFT().vectors(stored)
    assert vectors.dtype == np.float32
    assert vectors[0, 5] == 1
    np.testing.assert_allclose(vectors[1, :4] ** 2, np.array([1, 2, 3, 10]) / 16, rtol=1e-6)
    np.testing.assert_array_equal(vectors[2], 0)  # no gradient at all: no division by zero
    assert SIFT().vectors(stored[:0]).shape == (0, 128)


def test_the_hook_gives_the_class() -> None:
    assert cxrbench_feature_extractors() == [SIFT]
