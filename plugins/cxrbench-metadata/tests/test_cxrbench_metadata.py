"""Metadata: what a record tells, scaled by the training images alone."""

from __future__ import annotations

import numpy as np
import pytest
from cxrbench_metadata import FittedScaler, Metadata, Scaler

from cxrbench import CxrbenchError, Record
from cxrbench.testing import checks_for

RECORDS = [
    Record("a", 30.0, "F", "PA"),
    Record("b", 50.0, "M", "AP"),
    Record("c", 76.0, "F", "PA"),
    Record("d", None, None, None),
    Record("e", 0.0, "F", "AP"),
]


def vectors(records):
    return [Metadata().extract(None, record).descriptors for record in records]


def fitted(records):
    scaler = Scaler().fit(vectors(records), distance="l2", seed=0)
    return FittedScaler.from_arrays(scaler.arrays())


def encoded(scaler, records):
    return np.stack([scaler.transform(vector) for vector in vectors(records)])


def test_known_values_are_standardised_as_scikit_learn_does():
    from sklearn.preprocessing import StandardScaler

    told = np.array([[30, 1, 0], [50, 0, 1], [76, 1, 0], [0, 1, 1]], float)
    records = [RECORDS[row] for row in (0, 1, 2, 4)]
    found = encoded(fitted(records), records)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :3], StandardScaler().fit_transform(told), rtol=1e-5)
    np.testing.assert_array_equal(found[:, 3:], 0)


def test_what_is_missing_has_the_mean_and_an_indicator():
    scaler = fitted(RECORDS)
    np.testing.assert_array_equal(encoded(scaler, [RECORDS[3]]), [[0, 0, 0, 1, 1, 1]])
    # It did not shift the mean: an age of 0 is known, an unknown one is not 0.
    assert scaler.mean[0] == pytest.approx((30 + 50 + 76 + 0) / 4)


def test_each_value_has_an_indicator_of_its_own():
    scaler = fitted(RECORDS)
    for record, missing in [
        (Record("x", None, "F", "PA"), [1, 0, 0]),
        (Record("x", 40.0, None, "PA"), [0, 1, 0]),
        (Record("x", 40.0, "F", None), [0, 0, 1]),
    ]:
        np.testing.assert_array_equal(encoded(scaler, [record])[0, 3:], missing)


def test_what_no_training_image_has_or_all_share_says_nothing_later():
    """Such a column has no scale: an age of 50 must not become 50 deviations."""
    scaler = fitted([Record("a", None, "F", "PA"), Record("b", None, "F", "AP")])
    found = encoded(scaler, [Record("x", 50.0, "M", "PA")])
    np.testing.assert_array_equal(found[0, :2], 0)
    assert found[0, 2] != 0
    assert np.isfinite(found).all()


def test_an_image_that_is_not_fitted_on_changes_nothing():
    before = fitted(RECORDS[:3])
    after = fitted(RECORDS[:3])
    encoded(after, [Record("canary", 1000.0, "M", "AP")])
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(array, after.arrays()[name])


def test_no_training_image_is_refused():
    with pytest.raises(CxrbenchError, match="no training images"):
        Scaler().fit([], distance="l2", seed=0)


def test_an_image_that_was_left_out_is_one_of_which_nothing_is_known():
    found = fitted(RECORDS).transform(np.zeros((0, 6), np.float32))
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("check", checks_for("metadata"), ids=str)
def test_conformance(check):
    check()
