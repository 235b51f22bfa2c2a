"""Counts of decisions against the truth, and how labels go together in both."""

from __future__ import annotations

import numpy as np


def confusion_matrices(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Count the images of each label by truth and decision.

    Parameters
    ----------
    y_true, y_pred : (N, L), 1 or 0; images where either is NaN are left out, label by label.

    Returns
    -------
    (L, 2, 2) int: [label, truth, decision], as scikit-learn's ``multilabel_confusion_matrix``.
    """
    cells = [
        [((y_true == truth) & (y_pred == decision)).sum(axis=0) for decision in (0, 1)]
        for truth in (0, 1)
    ]
    return np.moveaxis(np.array(cells), 2, 0)


def co_occurrence(labels: np.ndarray) -> np.ndarray:
    """P(column | row): of the images with one label, the share that also has another.

    Parameters
    ----------
    labels : (N, L), 1 or 0; NaN is unknown, and its images are left out, pair by pair.

    Returns
    -------
    (L, L) float64; NaN in the row of a label that no image has.
    """
    positive = (labels == 1).astype(np.float64)
    known = ((labels == 1) | (labels == 0)).astype(np.float64)
    both, of = positive.T @ positive, positive.T @ known
    share = np.full(both.shape, np.nan)
    np.divide(both, of, out=share, where=of > 0)
    return share
