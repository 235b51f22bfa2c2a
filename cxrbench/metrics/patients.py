"""Images grouped by patient, and the labels with enough patients to count in macro."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.errors import DataError

MIN_PATIENTS = 5
"""A label counts with at least this many patients with it and as many without.

With fewer, most bootstrap replicates of a small test split lose one of the classes.
"""

UNKNOWN_PATIENTS = (
    "Patients are unknown. cxrbench cannot check whether a patient has images in several splits. "
    "Intervals are over images, and too narrow if patients have several images."
)


@dataclass(frozen=True, eq=False)
class PatientTable:
    """How often each patient's images show each label.

    ``index`` (N,) int: the patient of each image, as a place in the sorted patient ids.
    ``positives`` and ``negatives`` (P, L) int: that patient's images with and without the label;
    images where it is unknown are in neither.
    """

    index: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def __len__(self) -> int:
        return len(self.positives)


def patient_table(y_true: np.ndarray, patient_ids: Sequence[str] | np.ndarray) -> PatientTable:
    """Group the rows of ``y_true`` (N, L) by ``patient_ids`` (N,).

    Patients are sorted by id, so that the order of the rows does not matter.
    """
    if len(patient_ids) != len(y_true):
        raise DataError(
            "The patients do not fit the labels.",
            expected=f"one patient id for each of {len(y_true)} images",
            found=f"{len(patient_ids)} patient ids",
            fix="give the patient of every image, in the order of y_true",
        )
    names, index = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    return PatientTable(
        index=index,
        positives=_count(y_true == 1, index, len(names)),
        negatives=_count(y_true == 0, index, len(names)),
    )


def _count(shown: np.ndarray, index: np.ndarray, patients: int) -> np.ndarray:
    counts = [np.bincount(index[column], minlength=patients) for column in shown.T]
    return np.array(counts, dtype=np.int64).reshape(len(counts), patients).T


def counted_labels(y_true: np.ndarray, patient_ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Which labels count in macro: 5 or more patients with the label and 5 or more without.

    A patient has the label when any image is positive, and is without it when at least one image
    is known and none is positive; a patient whose images are all unknown is neither. To be called
    once per board with the whole test split, never with a resample.

    Parameters
    ----------
    y_true : (N, L) float32: 1, 0, or NaN where unknown.
    patient_ids : (N,) str.

    Returns
    -------
    (L,) bool.
    """
    table = patient_table(y_true, patient_ids)
    has = table.positives > 0
    without = (table.negatives > 0) & ~has
    enough: np.ndarray = (has.sum(axis=0) >= MIN_PATIENTS) & (without.sum(axis=0) >= MIN_PATIENTS)
    return enough
