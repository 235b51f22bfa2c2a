"""Youden's thresholds against scikit-learn's ROC curve, and the decisions they make."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from cxrbench.metrics.thresholds import apply_thresholds, choose_thresholds

NAN = float("nan")


def youden_of(threshold: float, y_true: np.ndarray, y_score: np.ndarray) -> float:
    predicted = y_score >= threshold
    return float(predicted[y_true == 1].mean() - predicted[y_true == 0].mean())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2))
def test_no_point_of_the_roc_curve_is_better(rows):
    y_true, y_score = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    [threshold] = choose_thresholds(y_true[:, None], y_score[:, None])
    if len(np.unique(y_true)) < 2:
        assert math.isnan(threshold)
        return
    fpr, tpr, _ = roc_curve(y_true, y_score, drop_intermediate=False)
    best = np.max(tpr - fpr)
    assert youden_of(threshold, y_true, y_score) == pytest.approx(best, abs=1e-6)
    higher = [score for score in np.unique(y_score) if score > threshold]
    assert all(youden_of(score, y_true, y_score) < best + 1e-6 for score in higher)


def test_of_equally_good_thresholds_the_highest():
    y_true = np.array([[1], [0], [1], [0]], np.float32)
    y_score = np.array([[0.9], [0.7], [0.5], [0.3]])
    assert choose_thresholds(y_true, y_score).tolist() == [0.9]


def test_each_label_has_its_own_and_unknown_is_left_out():
    y_true = np.array([[1, 1, 0], [0, NAN, 0], [NAN, 0, 0]], np.float32)
    y_score = np.array([[0.6, 0.8, 0.1], [0.2, 0.9, 0.2], [0.99, 0.85, 0.3]])
    np.testing.assert_equal(choose_thresholds(y_true, y_score), [0.6, 0.8, NAN])


def test_constant_scores_give_the_constant():
    y_true = np.array([[1], [0], [0]], np.float32)
    assert choose_thresholds(y_true, np.full((3, 1), 0.25)).tolist() == [0.25]


def test_predictions_at_the_threshold_are_positive_also_in_float32_and_after_json():
    y_score = np.array([[0.1], [0.7], [0.3]], np.float32)
    y_true = np.array([[0], [1], [0]], np.float32)
    thresholds = np.array(json.loads(json.dumps(choose_thresholds(y_true, y_score).tolist())))
    assert apply_thresholds(y_score, thresholds).tolist() == [[0], [1], [0]]


def test_no_threshold_no_prediction():
    y_pred = apply_thresholds(np.array([[0.2, 0.9]]), np.array([NAN, 0.5]))
    np.testing.assert_equal(y_pred, [[NAN, 1]])
