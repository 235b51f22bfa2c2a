"""The test set of a cohort: what two runs must share to stand on one board."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrbench.data.cohort import board_key
from cxrbench.interfaces import Cohort
from cxrbench.metrics.patients import counted_labels


@dataclass(frozen=True, eq=False)
class TestSet:
    """The test images of a cohort.

    ``rows`` (n,) are their places in the cohort, ``counted`` (L,) bool the labels in macro, and
    ``board_key`` identifies label names, images, patients and truth.
    """

    rows: np.ndarray
    counted: np.ndarray
    board_key: str

    @classmethod
    def of(cls, cohort: Cohort, rows: np.ndarray) -> TestSet:
        """The test set that has the images in ``rows`` (n,) of a cohort.

        Raises
        ------
        DataError : an image comes twice, or a label is not 1, 0 or NaN.
        """
        patients = [cohort.patient_ids[row] for row in rows.tolist()]
        truth = cohort.labels[rows]
        key = board_key(
            cohort.label_names,
            [cohort.image_ids[row] for row in rows.tolist()],
            patients,
            truth,
            patients_known=cohort.patients_known,
        )
        return cls(rows, counted_labels(truth, patients), key)
