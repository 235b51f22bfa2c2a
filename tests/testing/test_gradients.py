"""How far gradients are apart, and gradients against those by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.testing.gradients import _apart, input_gradients


def test_small_gradients_are_compared_as_large_ones_are():
    one = np.array([3.0, 4.0], np.float32)
    other = np.array([3.0, 4.5], np.float32)
    for scale in (np.float32(1), np.float32(1e-28), np.float32(1e28)):
        assert _apart(one * scale, other * scale) == pytest.approx(0.1, rel=1e-5)


def test_gradients_are_those_by_hand():
    import keras

    first, second = keras.Input((2,), name="first"), keras.Input((2,), name="second")
    product = keras.layers.Multiply()([first, second])
    model = keras.Model({"first": first, "second": second}, product)
    given = {
        "first": np.array([[1, 2], [3, 4]], np.float32),
        "second": np.array([[5, 6], [7, 8]], np.float32),
    }
    found = input_gradients(model, given)
    assert found["first"].tolist() == given["second"].tolist()
    assert found["second"].tolist() == given["first"].tolist()
