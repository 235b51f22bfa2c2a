"""Noise: the same image has the same numbers, and nothing else decides them."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench import CxrbenchError, Record
from cxrbench.builtin.noise import Noise, cxrbench_feature_extractors


def numbers(image_id="a", age=None, **changes):
    return Noise(**changes).extract(None, Record(image_id, age)).descriptors


def test_the_name_of_the_image_and_the_seed_decide_alone():
    np.testing.assert_array_equal(numbers(), numbers(age=50.0))
    assert not np.array_equal(numbers(), numbers("b"))
    assert not np.array_equal(numbers(), numbers(seed=1))


def test_they_are_standard_normal_and_independent_between_images():
    table = np.concatenate([numbers(str(row), size=100) for row in range(400)])
    assert table.shape == (400, 100)
    assert table.dtype == np.float32
    assert abs(table.mean()) < 0.02
    assert abs(table.std() - 1) < 0.02
    correlations = np.corrcoef(table.T)[np.triu_indices(100, 1)]
    assert np.abs(correlations).max() < 0.3


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 65_537}, {"seed": -1}])
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(CxrbenchError, match="noise"):
        Noise(**wrong)


def test_it_is_offered_as_a_plugin():
    assert cxrbench_feature_extractors() == [Noise]
