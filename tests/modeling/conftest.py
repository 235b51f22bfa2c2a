"""Small pictures with labels that can be learnt from them."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.modeling.inputs import Inputs


@pytest.fixture
def pictures() -> Inputs:
    """96 pictures of 32 x 32: bright left half, bright top, and a label without a cause.

    The last label is unknown for every fourth; the feature vector "age" tells nothing.
    """
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, (96, 3)).astype(np.float32)
    pixels = rng.integers(0, 150, (96, 32, 32), np.uint8)
    pixels[labels[:, 0] == 1, :, :16] += 100
    pixels[labels[:, 1] == 1, :16] += 5
    labels[::4, 2] = np.nan
    return Inputs(pixels, {"age": rng.normal(50, 20, (96, 4)).astype(np.float32)}, labels)
