"""Confusion matrices against scikit-learn, and co-occurrence against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import multilabel_confusion_matrix

from cxrbench.metrics.curves import co_occurrence, confusion_matrices

RNG = np.random.default_rng(0)


def test_counts_are_those_of_scikit_learn():
    y_true, y_pred = RNG.integers(0, 2, (2, 50, 4)).astype(np.float32)
    found = confusion_matrices(y_true, y_pred)
    assert np.array_equal(found, multilabel_confusion_matrix(y_true, y_pred))


def test_unknown_labels_and_labels_without_threshold_are_left_out():
    y_true = np.array([[1, 1], [np.nan, 0], [0, 1]])
    y_pred = np.array([[1, np.nan], [1, np.nan], [1, np.nan]])
    assert confusion_matrices(y_true, y_pred).tolist() == [[[0, 1], [0, 1]], [[0, 0], [0, 0]]]


def test_co_occurrence_is_the_share_of_the_rows_images():
    labels = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, np.nan, 0, 0], [0, 1, 1, 0]], float)
    expected = [
        [1, 1 / 2, 0, 0],  # the image where the second is unknown is not asked
        [1 / 2, 1, 1 / 2, 0],
        [0, 1, 1, 0],
        [np.nan] * 4,
    ]
    assert co_occurrence(labels) == pytest.approx(np.array(expected), nan_ok=True)
