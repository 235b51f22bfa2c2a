"""Every measure of a resample is that of the images which it holds, as scikit-learn sees them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from cxrbench.metrics.bootstrap import bootstrap
from cxrbench.metrics.measures import BINS, MEASURES, RANKING, quantile_bins
from cxrbench.metrics.patients import counted_labels, patient_table
from cxrbench.metrics.resampling import board_resampler
from cxrbench.metrics.scores import score

THRESHOLDS = np.array([0.4, 0.5, np.nan])


@pytest.fixture(scope="module")
def cohort() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three labels, the last without a threshold; unknown entries, ties, several images each."""
    rng = np.random.default_rng(5)
    patients = np.repeat(np.arange(150), rng.integers(1, 6, 150)).astype(str)
    y_true = (rng.random((len(patients), 3)) < [0.2, 0.4, 0.3]).astype(np.float32)
    y_score = np.round(np.clip(0.6 * rng.random(y_true.shape) + 0.3 * y_true, 0, 1), 2)
    y_true[rng.random(y_true.shape) < 0.1] = np.nan
    return y_true, y_score, patients


def test_a_replicate_is_the_score_of_its_images(cohort):
    y_true, y_score, patients = cohort
    counted = counted_labels(y_true, patients)
    found = bootstrap(
        y_true, y_score, patients, counted,
        board_key="b", replicates=20, thresholds=THRESHOLDS,
    )  # fmt: skip
    table = patient_table(y_true, patients)
    draws, _ = board_resampler("b", table, counted).draw(0, 20)
    for replicate, column in enumerate(draws[table.index].T.astype(int)):
        rows = np.repeat(np.arange(len(y_true)), column)
        # Each image for itself: which patient it has plays no part in a score.
        told = score(
            y_true[rows], y_score[rows], np.arange(len(rows)).astype(str),
            label_names="abc", no_finding=None, thresholds=THRESHOLDS,
        )  # fmt: skip
        for name in MEASURES:
            if name == "ece":
                continue  # its bins are those of the whole split
            for label, row in enumerate(told.labels):
                expected = getattr(row, name)
                assert found.labels[name][label, replicate] == pytest.approx(
                    expected, abs=1e-9, nan_ok=True
                )
            assert found.macro[name][replicate] == pytest.approx(told.macro[name], abs=1e-9)
            assert found.micro[name][replicate] == pytest.approx(told.micro[name], abs=1e-9)


def test_calibration_error_of_a_replicate_keeps_the_bins_of_the_whole_split(cohort):
    y_true, y_score, patients = cohort
    counted = counted_labels(y_true, patients)
    found = bootstrap(
        y_true, y_score, patients, counted,
        board_key="b", replicates=5, thresholds=THRESHOLDS,
    )  # fmt: skip
    table = patient_table(y_true, patients)
    draws, _ = board_resampler("b", table, counted).draw(0, 5)
    known = ~np.isnan(y_true[:, 0])
    truth, values = y_true[known, 0], y_score[known, 0]
    bins = quantile_bins(values)
    for replicate, column in enumerate(draws[table.index[known]].T):
        off = [abs(np.sum(column * (values - truth) * (bins == number))) for number in range(BINS)]
        expected = np.sum(off) / column.sum()
        assert found.labels["ece"][0, replicate] == pytest.approx(expected, abs=1e-12)


def test_micro_decisions_are_over_labels_that_have_a_threshold(cohort):
    y_true, y_score, patients = cohort
    told = score(
        y_true, y_score, patients,
        label_names="abc", no_finding=None, thresholds=THRESHOLDS,
    )  # fmt: skip
    known = ~np.isnan(y_true[:, :2])
    predicted = (y_score[:, :2] >= THRESHOLDS[:2])[known]
    truth = y_true[:, :2][known]
    assert told.micro["f1"] == pytest.approx(sk.f1_score(truth, predicted))
    assert told.micro["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert told.micro["brier"] == pytest.approx(np.nanmean((y_score - y_true) ** 2), abs=1e-12), (
        "probabilities need no threshold"
    )


def test_calibrated_probabilities_change_calibration_alone(cohort):
    y_true, y_score, patients = cohort
    told = [
        score(
            y_true, y_score, patients,
            label_names="abc", no_finding=None, thresholds=THRESHOLDS, probability=probability,
        )
        for probability in (None, y_score**2)
    ]  # fmt: skip
    for name in MEASURES:
        same = told[0].macro[name] == told[1].macro[name]
        assert same == (name not in ("brier", "ece"))


def test_without_thresholds_only_ranking_is_measured(cohort):
    y_true, y_score, patients = cohort
    counted = counted_labels(y_true, patients)
    found = bootstrap(y_true, y_score, patients, counted, board_key="b", replicates=2)
    assert tuple(found.macro) == tuple(found.labels) == RANKING


def test_sensitivity_needs_negatives_and_takes_the_best_threshold():
    """Nine of ten negatives are below 0.6; at 95 % none but the highest threshold will do."""
    y_score = np.array([*np.linspace(0.1, 0.5, 9), 0.8, 0.55, 0.6, 0.7, 0.9])[:, None]
    y_true = np.array([0] * 10 + [1] * 4, np.float32)[:, None]
    told = score(
        y_true, y_score, np.arange(14).astype(str),
        label_names=["a"], no_finding=None, thresholds=np.array([0.5]),
    )  # fmt: skip
    (label,) = told.labels
    assert (label.sensitivity_at_90, label.sensitivity_at_95) == (1.0, 0.25)
    alone = score(
        y_true[10:], y_score[10:], list("abcd"),
        label_names=["a"], no_finding=None, thresholds=np.array([0.5]),
    )  # fmt: skip
    assert np.isnan(alone.labels[0].sensitivity_at_90)
