"""AUROC and average precision against scikit-learn, closed forms and invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrbench.errors import DataError
from cxrbench.metrics.auroc import (
    auroc,
    average_precision,
    check_scores,
    label_auroc,
    label_average_precision,
    mean_defined,
)

NAN = float("nan")
images = st.lists(st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 8)), min_size=1)


def arrays(rows: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_score = zip(*rows, strict=True)
    return np.array(y_true, np.float32), np.array(y_score) / 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [1, 2, 10, 10**9])
def test_agrees_with_sklearn_whatever_the_ties(dtype, levels):
    rng = np.random.default_rng(levels)
    y_true = (rng.random(3000) < 0.1).astype(np.float32)
    y_score = (np.round((rng.random(3000) + 0.3 * y_true) * levels) / levels).astype(dtype)
    assert auroc(y_true, y_score) == pytest.approx(roc_auc_score(y_true, y_score), abs=1e-12)
    expected = average_precision_score(y_true, y_score)
    assert average_precision(y_true, y_score) == pytest.approx(expected, abs=1e-12)


def test_neighbouring_floats_are_not_a_tie():
    low = np.float32(0.3)
    y_score = np.array([low, np.nextafter(low, np.float32(1))])
    assert auroc(np.array([0, 1], np.float32), y_score) == 1.0
    assert auroc(np.array([1, 0], np.float32), y_score) == 0.0


@given(images)
def test_unknown_labels_are_left_out(rows):
    y_true, y_score = arrays(rows)
    known = ~np.isnan(y_true)
    got = auroc(y_true, y_score)
    if len(np.unique(y_true[known])) < 2:
        assert math.isnan(got)
    else:
        expected = roc_auc_score(y_true[known], y_score[known])
        assert got == pytest.approx(expected, abs=1e-12)
        expected = average_precision_score(y_true[known], y_score[known])
        assert average_precision(y_true, y_score) == pytest.approx(expected, abs=1e-12)


@given(images)
def test_monotone_transforms_change_nothing(rows):
    y_true, y_score = arrays(rows)
    np.testing.assert_equal(auroc(y_true, np.exp(5 * y_score) - 7), auroc(y_true, y_score))


@given(images)
def test_complements_mirror(rows):
    y_true, y_score = arrays(rows)
    expected = 1 - auroc(y_true, y_score)
    np.testing.assert_allclose(auroc(1 - y_true, y_score), expected, atol=1e-12)
    np.testing.assert_allclose(auroc(y_true, 1 - y_score), expected, atol=1e-12)


@given(images, st.randoms(use_true_random=False))
def test_row_order_changes_no_bit(rows, random):
    shuffled = random.sample(rows, len(rows))
    np.testing.assert_equal(auroc(*arrays(shuffled)), auroc(*arrays(rows)))
    np.testing.assert_equal(average_precision(*arrays(shuffled)), average_precision(*arrays(rows)))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, 1.0])
def test_constant_scores_are_exactly_a_half(constant):
    y_true = np.array([1, 0, 0, NAN, 0, 1, 0], np.float32)
    assert auroc(y_true, np.full(7, constant)) == 0.5
    assert average_precision(y_true, np.full(7, constant)) == pytest.approx(2 / 6)


@pytest.mark.parametrize("y_true", [[], [NAN, NAN], [0.0, 0.0], [1.0, 1.0, NAN]])
def test_one_class_is_undefined(y_true):
    assert math.isnan(auroc(np.array(y_true), np.linspace(0, 1, len(y_true))))


def test_average_precision_needs_a_positive_only():
    assert math.isnan(average_precision(np.zeros(3), np.array([0.1, 0.2, 0.3])))
    assert average_precision(np.ones(3), np.array([0.1, 0.2, 0.3])) == 1.0


def test_columns_and_their_mean():
    y_true = np.array([[1, 0, 1], [0, 0, NAN], [1, 0, 0]], np.float32)
    y_score = np.array([[0.9, 0.5, 0.1], [0.4, 0.1, 0.9], [0.3, 0.2, 0.7]])
    np.testing.assert_equal(label_auroc(y_true, y_score), [0.5, NAN, 0.0])
    np.testing.assert_allclose(label_average_precision(y_true, y_score), [5 / 6, NAN, 0.5])
    assert mean_defined(label_auroc(y_true, y_score)) == 0.25
    assert math.isnan(mean_defined(np.array([NAN, NAN])))


def test_scores_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"\(3, 2\)\n  got: \(3, 1\)"):
        check_scores(np.zeros((3, 2)), np.zeros((3, 1)))


@pytest.mark.parametrize("bad", [NAN, np.inf])
def test_scores_that_are_not_numbers_are_refused(bad):
    with pytest.raises(DataError, match="1 of 6 are NaN or infinite"):
        check_scores(np.zeros((3, 2)), np.array([[0, 0], [0, bad], [1, 1]]))
