"""ORB: what it finds, against OpenCV called directly, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrbench import CxrbenchError, Record
from cxrbench.builtin.orb import ORB, cxrbench_feature_extractors

RECORD = Record("film")


def film(seed: int = 0, side: int = 256) -> np.ndarray:
    """Soft shapes with some noise: corners at several scales, as in a radiograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (side // 8, side // 8), dtype=np.uint8)
    shapes = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return cv2.add(shapes, rng.integers(0, 12, (side, side), dtype=np.uint8))


def test_finds_what_opencv_finds() -> None:
    image = film(side=512)
    found, expected = cv2.ORB.create(500, fastThreshold=7).detectAndCompute(image, None)
    features = ORB().extract(image, RECORD)
    order = sorted(
        range(len(found)),
        key=lambda i: (-found[i].response, found[i].pt[1], found[i].pt[0], found[i].size),
    )
    np.testing.assert_array_equal(features.descriptors, expected[order])
    assert features.keypoints is not None
    points = [(*found[i].pt, found[i].size, found[i].angle) for i in order]
    np.testing.assert_array_equal(features.keypoints, np.array(points, np.float32))
    assert features.descriptors.dtype == np.uint8
    assert features.keypoints.dtype == np.float32


def test_keeps_the_strongest_of_many() -> None:
    features = ORB(nfeatures=7).extract(film(), RECORD)
    assert features.descriptors.shape == (7, 32)
    assert features.keypoints is not None
    assert features.keypoints.shape == (7, 4)


def test_same_result_from_any_thread() -> None:
    images = [film(seed) for seed in range(8)]
    extractor = ORB()
    alone = [extractor.extract(image, RECORD).descriptors for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda image: extractor.extract(image, RECORD).descriptors, images)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)


def test_leaves_the_image_as_it_was() -> None:
    image = film()
    image.setflags(write=False)
    before = image.copy()
    ORB(clahe=True).extract(image, RECORD)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((512, 512), np.uint8), id="black"),
        pytest.param(np.full((64, 64), 255, np.uint8), id="white"),
        pytest.param(film(side=32), id="tiny"),
        pytest.param(np.ones((1, 1), np.uint8), id="one pixel"),
        pytest.param(np.ones((1, 300), np.uint8), id="one row"),
    ],
)
@pytest.mark.parametrize("clahe", [False, True])
def test_no_keypoints_is_an_empty_array(image: np.ndarray, clahe: bool) -> None:
    features = ORB(clahe=clahe).extract(image, RECORD)
    assert (features.descriptors.shape, features.descriptors.dtype) == ((0, 32), np.uint8)
    assert features.keypoints is not None
    assert (features.keypoints.shape, features.keypoints.dtype) == ((0, 4), np.float32)


def test_accepts_an_image_that_is_not_contiguous() -> None:
    image = film()
    flipped = np.ascontiguousarray(image[:, ::-1])
    np.testing.assert_array_equal(
        ORB().extract(image[:, ::-1], RECORD).descriptors,
        ORB().extract(flipped, RECORD).descriptors,
    )


def test_more_levels_than_the_image_has_room_for() -> None:
    # Called directly, OpenCV ends the process here.
    features = ORB(nlevels=32, scale_factor=4.0).extract(film(), RECORD)
    assert len(features.descriptors) > 0


def test_clahe_finds_more_on_a_faint_film() -> None:
    faint = (film(side=512) // 16 + 100).astype(np.uint8)
    plain = ORB(fast_threshold=20).extract(faint, RECORD)
    equalised = ORB(fast_threshold=20, clahe=True).extract(faint, RECORD)
    assert len(plain.descriptors) < len(equalised.descriptors)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nfeatures", -1),
        ("nfeatures", 0),
        ("nlevels", 0),
        ("scale_factor", 1.0),
        ("scale_factor", float("nan")),
        ("fast_threshold", 0),
        ("patch_size", 1),
        ("image_size", 0),
    ],
)
def test_a_value_that_cannot_work_is_explained(field: str, value: float) -> None:
    with pytest.raises(CxrbenchError) as failure:
        ORB(**{field: value})  # type: ignore[arg-type]
    told = str(failure.value)
    assert f"orb: {field}" in told
    assert f"got: {value}" in told
    assert f"orb:{field}={getattr(ORB(), field)}" in told


def test_bits_become_signs() -> None:
    vectors = ORB().vectors(np.array([[0b1000_0001] + [0] * 31], np.uint8))
    assert vectors.dtype == np.float32
    assert vectors.shape == (1, 256)
    assert vectors[0, :8].tolist() == [1, -1, -1, -1, -1, -1, -1, 1]
    assert ORB().vectors(np.zeros((0, 32), np.uint8)).shape == (0, 256)


def test_the_hook_gives_the_class() -> None:
    assert cxrbench_feature_extractors() == [ORB]


@pytest.mark.parametrize(
    "module", ["builtin.orb", "builtin.sift", "encoders.visual_words", "encoders.whole_image"]
)
def test_import_is_cheap(module: str) -> None:
    script = (
        f"import sys, cxrbench.{module}\n"
        "print([m for m in ('numpy', 'cv2', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(
    "CXRBENCH_REAL_DATA" not in os.environ, reason="CXRBENCH_REAL_DATA is not set: no real films"
)
def test_no_real_film_goes_nearly_without_keypoints() -> None:
    folder = Path(os.environ["CXRBENCH_REAL_DATA"]) / "nih-mini" / "xray_images"
    counts = []
    for path in sorted(folder.iterdir())[::16]:
        image = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (512, 512))
        counts.append(len(ORB().extract(image, RECORD).descriptors))
    assert len(counts) == 40
    assert min(counts) >= 50
    assert np.median(counts) == 500
