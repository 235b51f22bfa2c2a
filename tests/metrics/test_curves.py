"""ROC and precision-recall curves against scikit-learn, image by image and resample by resample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from cxrbench.metrics.curves import GRID, label_curves
from cxrbench.metrics.patients import patient_table
from cxrbench.metrics.resampling import board_resampler


def resampler_of(y_true, patients):
    table = patient_table(y_true[:, None], patients)
    return table.index, board_resampler("board", table, np.ones(1, bool))


def curves_of(y_true, y_score, patients=None, **options):
    patients = np.arange(len(y_true)).astype(str) if patients is None else patients
    index, resampler = resampler_of(y_true, patients)
    return label_curves(y_true, np.atleast_2d(y_score), index, resampler, **options)


def sklearn_roc(y_true, y_score):
    """Read at `GRID`, at the top of each vertical piece."""
    fpr, tpr, _ = roc_curve(y_true, y_score, drop_intermediate=False)
    # A rate that a vertical piece stands at may differ from the grid by rounding.
    return np.interp(GRID + 1e-12, fpr, tpr)


def sklearn_precision(y_true, y_score):
    """At the highest threshold whose recall is as high as `GRID` asks."""
    precision, recall, _ = precision_recall_curve(y_true, y_score)
    wanted = np.maximum(GRID, 1e-9) - 1e-12
    return np.array([precision[np.flatnonzero(recall >= at)[-1]] for at in wanted])


def cohort(seed, images=120, patients=40, levels=None):
    rng = np.random.default_rng(seed)
    y_true = (rng.random(images) < 0.3).astype(np.float32)
    y_score = rng.random(images) + 0.3 * y_true
    y_score = y_score if levels is None else np.round(y_score * levels) / levels
    return y_true, y_score, rng.integers(0, patients, images).astype(str)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 80), st.sampled_from([None, 1, 4]))
def test_curves_are_scikit_learns_read_at_the_grid(seed, images, levels):
    y_true, y_score, _ = cohort(seed, images, levels=levels)
    y_true[:2] = 0, 1
    found = curves_of(y_true, y_score, replicates=1)
    assert found.roc.value == pytest.approx(sklearn_roc(y_true, y_score), abs=1e-6)
    assert found.precision_recall.value == pytest.approx(sklearn_precision(y_true, y_score))
    assert (found.positives, found.known) == (int(y_true.sum()), images)


def test_the_area_of_the_precision_steps_is_the_average_precision():
    # 20 positives: recalls are multiples of 0.05, all of them on the grid.
    rng = np.random.default_rng(0)
    y_true = np.repeat([1.0, 0.0], [20, 80]).astype(np.float32)
    y_score = rng.normal(size=100) + y_true
    found = curves_of(y_true, y_score, replicates=1).precision_recall.value
    assert found[1:].mean() == pytest.approx(average_precision_score(y_true, y_score))


def test_bands_are_percentiles_of_scikit_learns_curves_of_the_same_resamples():
    y_true, y_score, patients = cohort(3, levels=20)
    index, resampler = resampler_of(y_true, patients)
    weights = resampler.draw(0, 30)[0].astype(int)
    roc, precision = [], []
    for replicate in weights.T:
        rows = np.repeat(np.arange(len(y_true)), replicate[index])
        roc.append(sklearn_roc(y_true[rows], y_score[rows]))
        precision.append(sklearn_precision(y_true[rows], y_score[rows]))
    found = label_curves(y_true, y_score[None], index, resampler, replicates=30)
    for curve, expected in ((found.roc, roc), (found.precision_recall, precision)):
        low, high = np.quantile(expected, [0.025, 0.975], axis=0)
        assert curve.low == pytest.approx(np.minimum(low, curve.value), abs=1e-6)
        assert curve.high == pytest.approx(np.maximum(high, curve.value), abs=1e-6)


def test_chunks_change_nothing(monkeypatch):
    y_true, y_score, patients = cohort(4)
    whole = curves_of(y_true, y_score, patients, replicates=50)
    monkeypatch.setattr("cxrbench.metrics.curves.CHUNK_BYTES", 7 * 8 * len(y_true))
    parts = curves_of(y_true, y_score, patients, replicates=50)
    assert np.array_equal(whole.roc.low, parts.roc.low)
    assert np.array_equal(whole.precision_recall.high, parts.precision_recall.high)


def test_several_seeds_are_the_mean_curve_and_widen_the_band():
    y_true, first, patients = cohort(5)
    second = np.random.default_rng(6).random(len(first))
    one, other, both = (
        curves_of(y_true, scores, patients).roc for scores in (first, second, [first, second])
    )
    assert both.value == pytest.approx((one.value + other.value) / 2)
    same = curves_of(y_true, [first, first], patients).roc
    assert same.low == pytest.approx(one.low)
    # Where the seeds differ the band is at least as wide as their own spread asks.
    spread = 1.96 * np.abs(one.value - other.value) / 2
    assert (both.high >= np.minimum(both.value + spread, 1) - 1e-3).all()


def test_constant_scores_are_the_diagonal_and_the_prevalence():
    y_true, _, patients = cohort(7)
    found = curves_of(y_true, np.full(len(y_true), 0.2), patients)
    for curve in (found.roc.value, found.roc.low, found.roc.high):
        assert curve == pytest.approx(GRID)
    assert found.precision_recall.value == pytest.approx(np.full(len(GRID), y_true.mean()))
    assert found.prevalence == pytest.approx(y_true.mean())


def test_unknown_labels_are_left_out():
    y_true, y_score, patients = cohort(8)
    told = y_true.copy()
    told[::3] = np.nan
    known = ~np.isnan(told)
    found = curves_of(told, y_score, patients, replicates=1).roc.value
    assert found == pytest.approx(sklearn_roc(y_true[known], y_score[known]), abs=1e-6)


@pytest.mark.parametrize("labels", [np.zeros(6), np.ones(6), np.full(6, np.nan)])
def test_a_label_with_one_class_or_none_has_no_curve(labels):
    found = curves_of(labels.astype(np.float32), np.linspace(0, 1, 6))
    for curve in (found.roc, found.precision_recall):
        assert np.isnan([curve.value, curve.low, curve.high]).all()


def test_a_replicate_without_a_class_leaves_no_band():
    """One of three patients has the label, which does not count: replicates lose it."""
    y_true = np.array([1, 0, 0, 0], np.float32)
    patients = np.array(["a", "a", "b", "c"])
    table = patient_table(y_true[:, None], patients)
    resampler = board_resampler("board", table, np.zeros(1, bool))
    # Labels pooled need both classes as well, so another label's images stand in for them here.
    resampler = type(resampler)(resampler.seed, np.ones((3, 1), bool))
    found = label_curves(y_true, np.array([[0.9, 0.1, 0.2, 0.3]]), table.index, resampler)
    assert not np.isnan(found.roc.value).any()
    assert np.isnan(found.roc.low).all()
