"""Identity: one vector in, the same vector out."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench import CxrbenchError, Identity


def test_gives_the_vector_back() -> None:
    vector = np.array([[1.5, -2, 0]], np.float32)
    fitted = Identity().fit([vector], distance="l2", seed=0)
    fitted = type(fitted).from_arrays(fitted.arrays())
    np.testing.assert_array_equal(fitted.transform(vector), vector[0])


def test_an_image_without_a_vector_is_zeros() -> None:
    fitted = Identity().fit([np.ones((1, 3), np.float32)], distance="l2", seed=0)
    encoded = fitted.transform(np.zeros((0, 3), np.float32))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [0, 0, 0])


@pytest.mark.parametrize("shape", [(2, 3), (1, 4)])
def test_anything_else_is_refused(shape: tuple[int, int]) -> None:
    fitted = Identity().fit([np.ones((1, 3), np.float32)], distance="l2", seed=0)
    with pytest.raises(CxrbenchError, match="got: an array of shape"):
        fitted.transform(np.ones(shape, np.float32))


def test_no_training_image_is_refused() -> None:
    with pytest.raises(CxrbenchError, match="no training images"):
        Identity().fit([], distance="l2", seed=0)
