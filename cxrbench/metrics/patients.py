"""Images grouped by patient, and the labels with enough patients to count in macro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
            "the patients do not fit the labels",
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


@dataclass(frozen=True)
class EffectivePatients:
    """How many patients with equally many images would say as much about a label, by Kish.

    (Σn)² / Σn², with n the images of a patient: ``positive``, ``negative`` or ``known`` ones.

    References
    ----------
    Kish, Survey Sampling, 1965.
    """

    positive: float
    negative: float
    known: float

    def of(self, measure: str) -> float:
        """The number that limits how well a measure is known: that of the rarer class, mostly."""
        match measure:
            case "accuracy" | "brier" | "ece":
                return self.known
            case "specificity":
                return self.negative
            case "auroc" | "average_precision":
                return min(self.positive, self.negative)
        return self.positive

    def to_json(self) -> dict[str, float]:
        """Plain values, as `from_json` reads them."""
        return {"positive": self.positive, "negative": self.negative, "known": self.known}

    @classmethod
    def from_json(cls, values: Mapping[str, float]) -> EffectivePatients:
        """The numbers that ``to_json`` gave."""
        return cls(values["positive"], values["negative"], values["known"])

    @classmethod
    def counted(cls, positives: np.ndarray, negatives: np.ndarray) -> EffectivePatients:
        """From the numbers of images (P,) of each patient."""
        return cls(*map(effective_number, (positives, negatives, positives + negatives)))

    @classmethod
    def of_mean(cls, labels: Sequence[EffectivePatients], patients: float) -> EffectivePatients:
        """Those of a mean over labels, of which the rare ones make the variance; at most all."""
        return cls(
            effective_number_of_mean([one.positive for one in labels], patients),
            effective_number_of_mean([one.negative for one in labels], patients),
            patients,
        )


def effective_number(sizes: np.ndarray) -> float:
    """Kish's effective number of patients that have ``sizes`` (P,) images each; 0 without any."""
    squares = float(np.sum(sizes.astype(np.float64) ** 2))
    return float(np.sum(sizes)) ** 2 / squares if squares else 0.0


def effective_number_of_mean(labels: Sequence[float], patients: float) -> float:
    """The effective number of patients of a mean over labels that have so many each.

    Welch's and Satterthwaite's degrees of freedom, with variances that go as 1 / n, plus 1; at most
    ``patients``, since labels share theirs.
    """
    numbers = np.array([number for number in labels if number > 1])
    if not len(numbers):
        return 0.0
    shares = 1 / numbers
    return min(patients, 1 + float(np.sum(shares) ** 2 / np.sum(shares**2 / (numbers - 1))))


@dataclass(frozen=True)
class SplitPatients:
    """The effective patients of each label, of all entries pooled, and of a mean over labels."""

    labels: tuple[EffectivePatients, ...]
    micro: EffectivePatients
    macro: EffectivePatients


def split_patients(table: PatientTable, counted: np.ndarray) -> SplitPatients:
    """The effective patients of a test split; ``counted`` (L,) bool are the labels in macro."""
    pairs = zip(table.positives.T, table.negatives.T, strict=True)
    labels = tuple(EffectivePatients.counted(*pair) for pair in pairs)
    return SplitPatients(
        labels=labels,
        micro=EffectivePatients.counted(table.positives.sum(axis=1), table.negatives.sum(axis=1)),
        macro=EffectivePatients.of_mean(
            [one for one, counts in zip(labels, counted, strict=True) if counts],
            effective_number(np.bincount(table.index, minlength=1)),
        ),
    )
