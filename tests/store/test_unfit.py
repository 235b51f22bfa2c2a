"""From the square that a network sees back to the pixels of the original."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.interfaces import Box
from cxrbench.store.decoding import fit_box, fit_image, unfit_map, unfit_points


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("original", [(200, 120), (120, 200), (64, 64), (40, 30)])
def test_points_come_back_to_where_boxes_came_from(fit, original):
    box = Box("i", "Mass", 10, 20, 16, 8)
    fitted = fit_box(box, original, 64, fit)
    corners = np.array([[fitted.x, fitted.y], [fitted.x + fitted.width, fitted.y + fitted.height]])
    np.testing.assert_allclose(
        unfit_points(corners, original, 64, fit), [[10, 20], [26, 28]], atol=1e-9
    )


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("original", [(200, 120), (120, 200), (100, 100)])
def test_a_map_of_a_bright_spot_lies_over_the_spot(fit, original):
    width, height = original
    image = np.zeros((height, width), np.uint8)
    image[height // 2 : height // 2 + 20, 30:50] = 255
    seen = fit_image(image, 64, fit).astype(np.float32)
    found = unfit_map(seen, original, fit)
    assert found.shape == image.shape
    assert found.dtype == np.float32
    assert (found[image == 255] > 100).mean() > 0.95
    assert found[image == 0].mean() < 10
    assert 0 <= found.min() <= found.max() <= 255


def test_what_lies_on_the_padding_is_cut_off():
    values = np.zeros((64, 64), np.float32)
    values[:16] = 9  # above a picture that is twice as wide as tall
    assert unfit_map(values, (200, 100), "pad").max() == 0
    assert unfit_map(values, (200, 100), "stretch").max() == 9
