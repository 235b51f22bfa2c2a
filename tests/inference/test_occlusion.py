"""Occlusion: where the patch goes, what it does to a picture, and the map of what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.inference.saliency import Occlusion, upsampled


@pytest.mark.parametrize("side", [10, 32, 47, 512])
def test_every_pixel_is_covered_at_any_side_and_nothing_else_changes(side):
    occlusion = Occlusion()
    image = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    image[0, 0] = 255
    before, mean = image.copy(), np.rint(image.mean())
    covered = np.zeros((side, side), bool)
    for place in occlusion.places:
        changed = occlusion.occluded(image, place)
        differs = changed != image
        assert (changed[differs] == mean).all()
        assert differs.sum() <= (np.ceil(2 * side / 10) + 1) ** 2
        covered |= changed == mean
    assert covered.all()
    assert (image == before).all()
    assert len(occlusion.places) == 81


def test_the_map_is_the_mean_fall_of_the_patches_on_each_cell():
    occlusion = Occlusion(cells=4, patch=2)
    falls = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    expected = np.zeros((3, 4, 4))
    for row in range(4):
        for column in range(4):
            on = [
                index
                for index, (top, left) in enumerate(occlusion.places)
                if top <= row < top + 2 and left <= column < left + 2
            ]
            expected[:, row, column] = falls[on].mean(axis=0)
    found = occlusion.map(falls)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-6)


def test_the_map_of_a_linear_score_points_to_what_it_sums():
    occlusion = Occlusion()
    image = np.zeros((100, 100), np.uint8)
    image[20:40, 60:80] = 200  # all that counts
    whole = image[20:40, 60:80].sum(dtype=float)
    falls = [
        [whole - occlusion.occluded(image, place)[20:40, 60:80].sum(dtype=float)]
        for place in occlusion.places
    ]
    (found,) = occlusion.map(np.array(falls))
    best = np.argwhere(found == found.max())
    assert {tuple(cell) for cell in best.tolist()} <= {(2, 6), (2, 7), (3, 6), (3, 7)}
    assert found[6:, :].max() == 0


def test_maps_are_upsampled_between_the_centres_of_their_cells():
    fine = upsampled(np.array([[[0.0, 1.0], [0.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]]]), 8)
    assert fine.shape == (2, 8, 8)
    assert fine.dtype == np.float32
    assert (fine[1] == 2).all()
    np.testing.assert_allclose(fine[0, 0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    assert (fine[0] == fine[0, 0]).all()
