"""Resamples: seeded by the board alone, with replacement, again where a class is lost."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.metrics.patients import PatientTable, patient_table
from cxrbench.metrics.resampling import MAX_DRAWS, Resampler, board_resampler


def table_of(with_label: int, without: int) -> PatientTable:
    y_true = np.array([[1.0]] * with_label + [[0.0]] * without, np.float32)
    return patient_table(y_true, [f"{number:05}" for number in range(len(y_true))])


COUNTED = np.array([True])


def test_a_board_draws_the_same_patients_in_any_chunks():
    resampler = board_resampler("board", table_of(6, 200), COUNTED)
    together, redrawn = resampler.draw(0, 300)
    pieces = [resampler.draw(0, 7), resampler.draw(7, 100), resampler.draw(100, 300)]
    np.testing.assert_array_equal(np.hstack([weights for weights, _ in pieces]), together)
    assert sum(count for _, count in pieces) == redrawn


def test_another_board_draws_others():
    first, _ = board_resampler("board", table_of(20, 20), COUNTED).draw(0, 1)
    second, _ = board_resampler("another board", table_of(20, 20), COUNTED).draw(0, 1)
    assert (first != second).any()


def test_the_stream_is_pinned():
    """Rows scored by different versions of anything must hold the same patients."""
    weights, _ = board_resampler("board", table_of(4, 4), COUNTED).draw(0, 3)
    assert weights.T.astype(int).tolist() == [
        [1, 0, 1, 1, 2, 2, 0, 1],
        [0, 0, 1, 0, 1, 3, 0, 3],
        [1, 0, 1, 3, 1, 0, 2, 0],
    ]


def test_drawing_is_uniform_with_replacement():
    weights, redrawn = Resampler(seed=1, needed=np.ones((50, 0), bool)).draw(0, 4000)
    assert redrawn == 0
    assert (weights.sum(axis=0) == 50).all()
    # Binomial(50, 1/50): mean 1, variance 0.98; standard error of a mean of 4000 is 0.016.
    np.testing.assert_allclose(weights.mean(axis=1), 1, atol=0.08)
    assert weights.var() == pytest.approx(0.98, abs=0.02)


def test_lost_classes_are_drawn_again_as_often_as_they_are_lost():
    resampler = board_resampler("board", table_of(2, 98), COUNTED)
    weights, redrawn = resampler.draw(0, 2000)
    positives = weights[:2].sum(axis=0)
    assert (positives > 0).all()
    lost = 0.98**100  # 13 %
    assert redrawn / (redrawn + 2000) == pytest.approx(lost, abs=0.03)


def test_a_patient_can_bring_both_classes():
    y_true = np.array([[1], [0]] * 3, np.float32)
    table = patient_table(y_true, ["a", "a", "b", "b", "c", "c"])
    assert board_resampler("board", table, COUNTED).draw(0, 100)[1] == 0


def test_labels_that_do_not_count_are_not_waited_for():
    y_true = np.array([[1, 1], [0, 1], [0, 0], [0, 0]], np.float32)
    table = patient_table(y_true, list("abcd"))
    weights, redrawn = board_resampler("board", table, np.array([False, True])).draw(0, 500)
    assert redrawn > 0
    assert (weights[0] == 0).any()
    assert (weights[:2].sum(axis=0) > 0).all()


def test_redrawing_ends():
    impossible = np.array([[True, False]] * 3)
    weights, redrawn = Resampler(seed=1, needed=impossible).draw(0, 4)
    assert redrawn == 4 * MAX_DRAWS
    assert (weights.sum(axis=0) == 3).all()
