"""Reliability diagrams against scikit-learn, and their intervals against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from cxrbench.metrics.calibration import reliability, wilson


def labels_and_scores(images=300):
    rng = np.random.default_rng(0)
    y_score = rng.beta(1, 6, images)
    return (rng.random(images) < y_score).astype(np.float32), y_score, np.arange(images)


@pytest.mark.parametrize("bins", [5, 10])
@pytest.mark.parametrize("levels", [None, 20])
def test_bins_are_those_of_scikit_learn(bins, levels):
    y_true, y_score, patient = labels_and_scores()
    y_score = y_score if levels is None else np.round(y_score * levels) / levels
    found = reliability(y_true, y_score, patient, bins=bins)
    observed, predicted = calibration_curve(y_true, y_score, n_bins=bins, strategy="quantile")
    assert found.observed == pytest.approx(observed)
    assert found.predicted == pytest.approx(predicted)
    assert found.images.sum() == len(y_true)


@pytest.mark.parametrize(("positives", "count"), [(0, 7), (3, 7), (7, 7), (13, 200)])
def test_intervals_are_wilsons(positives, count):
    low, high = wilson(np.array([positives / count]), np.array([count]))
    expected = binomtest(positives, count).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx(tuple(expected), abs=1e-9)


def test_a_patient_with_many_images_counts_once():
    y_true, y_score, patient = labels_and_scores()
    alone = reliability(y_true, y_score, patient)
    three_times = reliability(*(np.tile(array, 3) for array in (y_true, y_score, patient)))
    assert three_times.observed == pytest.approx(alone.observed)
    assert three_times.high == pytest.approx(alone.high)
    assert (three_times.patients == alone.patients).all()
    assert three_times.images == pytest.approx(3 * alone.images)


def test_constant_scores_are_one_bin():
    found = reliability(np.array([1, 0, 0, 0]), np.full(4, 0.2), np.arange(4))
    assert (list(found.predicted), list(found.observed)) == ([0.2], [0.25])


def test_unknown_labels_are_left_out_and_without_known_ones_nothing_is_left():
    y_true = np.array([1, np.nan, 0])
    assert reliability(y_true, np.array([0.9, 0.5, 0.1]), np.arange(3)).images.sum() == 2
    nothing = reliability(np.full(3, np.nan), np.array([0.9, 0.5, 0.1]), np.arange(3))
    assert len(nothing.predicted) == 0
