"""HOG, LBP and GLCM: lengths, values that can be told by hand, and ugly images."""

from __future__ import annotations

import numpy as np
import pytest
from cxrbench_texture import GLCM, HOG, LBP

from cxrbench import CxrbenchError, Record
from cxrbench.testing import checks_for

RECORD = Record("a")
NOISE = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8)
PARTS = [HOG(image_size=256), LBP(), GLCM()]


def vector(part, image):
    descriptors = part.extract(image, RECORD).descriptors
    assert descriptors.shape[0] == 1
    assert descriptors.dtype == np.float32
    return descriptors[0]


@pytest.mark.parametrize(
    ("part", "length"),
    [
        (HOG(), 7 * 7 * 4 * 9),
        (HOG(image_size=64, orientations=4, cell=32), 16),
        (LBP(), 160),
        (LBP(points=16, radius=2, grid=2), 72),
        (GLCM(), 72),
    ],
)
def test_the_length_follows_from_the_parameters(part, length):
    side = part.image_size
    assert vector(part, NOISE[:side, :side]).shape == (length,)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_constant_image_is_an_ordinary_vector(part, grey):
    assert np.isfinite(vector(part, np.full((256, 256), grey, np.uint8))).all()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_same_image_gives_the_same_vector_and_stays_as_it_was(part):
    image = NOISE.copy()
    np.testing.assert_array_equal(vector(part, image), vector(part, image))
    np.testing.assert_array_equal(image, NOISE)


def test_hog_finds_the_direction_of_an_edge():
    image = np.zeros((128, 128), np.uint8)
    image[:, 61:] = 255  # a vertical edge: the gradient points along the row
    across = vector(HOG(), image).reshape(-1, 9).sum(axis=0)
    along = vector(HOG(), image.T.copy()).reshape(-1, 9).sum(axis=0)
    assert across.argmax() == 0
    assert along.argmax() == 4


def test_lbp_is_the_share_of_each_pattern_computed_by_hand():
    """With 8 points at radius 1 a pattern is the number of neighbours that are not darker."""
    image = np.full((64, 64), 9, np.uint8)
    image[20, 20] = 200  # brighter than all its neighbours: pattern 0
    shares = vector(LBP(image_size=64, grid=2), image).reshape(4, 10)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert shares[0, 0] == pytest.approx(1 / 31**2)  # the border's pixels are left out
    np.testing.assert_allclose(shares[1:, 8], 1)  # all neighbours are as bright


def test_glcm_is_haralicks_matrix_counted_by_hand():
    image = np.random.default_rng(1).integers(0, 256, (32, 32)).astype(np.uint8)
    found = vector(GLCM(image_size=32, levels=4), image).reshape(6, 3, 4)
    coarse = image // 64
    counts = np.zeros((4, 4))
    for distance_two_pixels in zip(coarse[:, :-2].ravel(), coarse[:, 2:].ravel(), strict=True):
        counts[distance_two_pixels] += 1
    matrix = (counts + counts.T) / (2 * counts.sum())
    i, j = np.indices((4, 4))
    assert found[0, 1, 0] == pytest.approx((matrix * (i - j) ** 2).sum(), rel=1e-5)
    assert found[1, 1, 0] == pytest.approx((matrix * abs(i - j)).sum(), rel=1e-5)
    assert found[2, 1, 0] == pytest.approx((matrix / (1 + (i - j) ** 2)).sum(), rel=1e-5)
    assert found[3, 1, 0] == pytest.approx(np.sqrt((matrix**2).sum()), rel=1e-5)
    assert found[5, 1, 0] == pytest.approx(-(matrix * np.log(matrix)).sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: HOG(orientations=1), "hog: orientations is out of range"),
        (lambda: HOG(image_size=32, cell=32), "larger than the image"),
        (lambda: LBP(grid=0), "lbp: grid is out of range"),
        (lambda: GLCM(levels=1), "glcm: levels is out of range"),
        (lambda: GLCM(levels=257), "glcm: levels is out of range"),
    ],
)
def test_parameters_that_cannot_work_are_refused(make, told):
    with pytest.raises(CxrbenchError, match=told):
        make()


@pytest.mark.parametrize("check", checks_for("texture"), ids=str)
def test_conformance(check):
    check()
