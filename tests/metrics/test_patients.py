"""Grouping by patient, and the rule by which labels count."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.errors import DataError
from cxrbench.metrics.patients import counted_labels, patient_table

NAN = float("nan")


def split(positive: int, negative: int, unknown: int = 0) -> tuple[np.ndarray, list[str]]:
    """One label, two images per patient; a positive patient's second image is negative."""
    values = [(1, 0)] * positive + [(0, NAN)] * negative + [(NAN, NAN)] * unknown
    patients = [str(number) for number in range(len(values)) for _ in range(2)]
    return np.array(values, np.float32).reshape(-1, 1), patients


@pytest.mark.parametrize(
    ("positive", "negative", "unknown", "counted"),
    [
        (5, 5, 0, True),
        (4, 50, 0, False),
        (50, 4, 0, False),
        (5, 4, 9, False),
        (4, 5, 9, False),
        (0, 0, 9, False),
    ],
)
def test_five_patients_with_and_five_without(positive, negative, unknown, counted):
    y_true, patients = split(positive, negative, unknown)
    assert counted_labels(y_true, patients).tolist() == [counted]


def test_patients_count_not_images():
    y_true = np.array([[1]] * 184 + [[0]] * 10, np.float32)
    patients = ["one with 184 images"] * 184 + [str(number) for number in range(10)]
    assert counted_labels(y_true, patients).tolist() == [False]


def test_the_table_counts_images_by_sorted_patient():
    y_true = np.array([[1, 0], [NAN, 1], [0, 0], [1, 0]], np.float32)
    table = patient_table(y_true, ["b", "a", "b", "b"])
    assert table.index.tolist() == [1, 0, 1, 1]
    assert table.positives.tolist() == [[0, 1], [2, 0]]
    assert table.negatives.tolist() == [[0, 0], [1, 3]]
    assert len(table) == 2


def test_a_missing_patient_id_is_an_error():
    with pytest.raises(DataError, match="one patient id for each of 4 images"):
        counted_labels(np.zeros((4, 1), np.float32), ["a", "b", "c"])
