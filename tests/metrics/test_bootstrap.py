"""The patient bootstrap against scikit-learn on the same resamples, and its promises."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrbench.errors import DataError
from cxrbench.metrics import scorers as module
from cxrbench.metrics.auroc import label_auroc
from cxrbench.metrics.bootstrap import Bootstrap, bootstrap
from cxrbench.metrics.intervals import (
    SeedScores,
    measure_interval,
    p_value,
    spread_of_difference,
)
from cxrbench.metrics.patients import counted_labels, patient_table
from cxrbench.metrics.resampling import board_resampler

NAN = float("nan")


def cohort(seed: int = 0, patients: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Up to 184 images per patient, unknown entries, rare and frequent labels."""
    rng = np.random.default_rng(seed)
    sizes = np.append(rng.geometric(0.3, patients - 1), 184)
    patient_ids = np.repeat([f"p{number}" for number in range(patients)], sizes)
    y_true = (rng.random((len(patient_ids), 4)) < [0.1, 0.3, 0.004, 0.6]).astype(np.float32)
    scores = rng.random(y_true.shape) + 0.4 * y_true
    y_true[rng.random(y_true.shape) < 0.1] = np.nan
    return y_true, scores / 1.4, patient_ids


def interval(value: float, result: Bootstrap) -> tuple[float, float]:
    scores = SeedScores.alone(value, result.macro_auroc)
    return measure_interval("auroc", scores, result.patients.macro.of("auroc"))


def by_sklearn(
    y_true: np.ndarray,
    y_score: np.ndarray,
    columns: list[int],
    weights: np.ndarray,
    measure=roc_auc_score,
) -> tuple[float, float]:
    """Macro over the columns and micro over all, with each image's weight."""
    known = ~np.isnan(y_true)
    macro = [
        measure(
            y_true[known[:, label], label],
            y_score[known[:, label], label],
            sample_weight=weights[known[:, label]],
        )
        for label in columns
    ]
    pooled = np.broadcast_to(weights[:, None], y_true.shape)[known]
    micro = measure(y_true[known], y_score[known], sample_weight=pooled)
    return float(np.mean(macro)), float(micro)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [0, 1, 2, 15])
def test_agrees_with_sklearn_on_the_same_resamples(dtype, decimals):
    y_true, y_score, patient_ids = cohort()
    y_score = np.round(y_score, decimals).astype(dtype)
    counted = np.array([True, True, False, True])
    result = bootstrap(
        y_true,
        y_score,
        patient_ids,
        counted,
        board_key="board",
        replicates=25,
        no_finding_index=3,
    )
    table = patient_table(y_true, patient_ids)
    draws, _ = board_resampler("board", table, counted).draw(0, 25)
    images = draws[table.index].T
    expected = [by_sklearn(y_true, y_score, [0, 1, 3], weights) for weights in images]
    found = np.column_stack([result.macro_auroc, result.micro_auroc])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    findings = [by_sklearn(y_true, y_score, [0, 1], weights)[0] for weights in images]
    np.testing.assert_allclose(result.macro_auroc_findings, findings, rtol=0, atol=1e-9)
    precision = [
        by_sklearn(y_true, y_score, [0, 1, 3], weights, average_precision_score)
        for weights in images
    ]
    found = np.column_stack([result.macro["average_precision"], result.micro["average_precision"]])
    np.testing.assert_allclose(found, precision, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.labels["auroc"][[0, 1, 3]].mean(axis=0), result.macro_auroc)
    alone = [by_sklearn(y_true, y_score, [1], weights)[0] for weights in images]
    np.testing.assert_allclose(result.labels["auroc"][1], alone, rtol=0, atol=1e-9)


def run(y_true, y_score, patient_ids, **options) -> Bootstrap:
    counted = counted_labels(y_true, patient_ids)
    return bootstrap(
        y_true, y_score, patient_ids, counted, **{"board_key": "b", "replicates": 60, **options}
    )


def assert_same(first: Bootstrap, second: Bootstrap) -> None:
    np.testing.assert_array_equal(first.macro_auroc_findings, second.macro_auroc_findings)
    for kind in ("macro", "micro", "labels"):
        one, other = getattr(first, kind), getattr(second, kind)
        np.testing.assert_array_equal(one["auroc"], other["auroc"])
        for name in one:
            # Sums of fractions depend on their order in the last bits.
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-12)
    assert first.redrawn == second.redrawn


def test_row_order_does_not_matter():
    y_true, y_score, patient_ids = cohort()
    order = np.random.default_rng(1).permutation(len(y_true))
    shuffled = run(y_true[order], y_score[order], tuple(patient_ids[order]))
    assert_same(run(y_true, y_score, patient_ids), shuffled)


def test_chunks_do_not_matter(monkeypatch):
    whole = run(*cohort())
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    assert_same(run(*cohort()), whole)


def test_more_replicates_extend_fewer():
    fewer, more = run(*cohort(), replicates=10), run(*cohort(), replicates=30)
    np.testing.assert_array_equal(more.macro_auroc[:10], fewer.macro_auroc)


def test_constant_scores_are_a_half_in_every_replicate():
    y_true, y_score, patient_ids = cohort()
    constant = np.full_like(y_score, 0.3)
    result = run(y_true, constant, patient_ids)
    assert (result.macro_auroc == 0.5).all()
    assert (result.micro_auroc == 0.5).all()
    prevalence = np.tile([0.1, 0.3, 0.004, 0.6], (len(y_true), 1))
    blind = run(y_true, prevalence, patient_ids)
    assert (blind.macro_auroc == 0.5).all()
    assert interval(0.5, blind) == (0.5, 0.5)
    assert blind.micro_auroc.min() > 0.6


def test_a_monotone_transform_is_the_same_row():
    y_true, y_score, patient_ids = cohort()
    first = run(y_true, y_score, patient_ids).macro_auroc
    second = run(y_true, np.sqrt(y_score) / 2, patient_ids).macro_auroc
    rows = [SeedScores.alone(0.7, one) for one in (first, second)]
    assert p_value(0.0, spread_of_difference(*rows, 100)) == 1.0
    np.testing.assert_array_equal(first, second)


def test_no_finding_is_left_out_of_the_findings_only_when_named():
    y_true, y_score, patient_ids = cohort()
    named = run(y_true, y_score, patient_ids, no_finding_index=3)
    unnamed = run(y_true, y_score, patient_ids)
    np.testing.assert_array_equal(unnamed.macro_auroc_findings, unnamed.macro_auroc)
    np.testing.assert_array_equal(named.macro_auroc, unnamed.macro_auroc)
    assert (named.macro_auroc_findings != named.macro_auroc).any()


def test_three_patients_have_micro_and_no_macro():
    y_true = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    y_score = np.array([[0.9, 0.2], [0.1, 0.8], [0.3, 0.85]])
    result = run(y_true, y_score, ["a", "b", "c"], replicates=2000)
    assert np.isnan(result.macro_auroc).all()
    assert np.isnan(result.macro_auroc_findings).all()
    assert np.isfinite(result.micro_auroc).all()
    # A resample of the third patient alone has no positive: 1 in 27.
    assert result.redrawn / (result.redrawn + 2000) == pytest.approx(1 / 27, abs=0.015)


def test_one_class_or_one_patient_is_undefined_and_ends():
    nothing = run(np.zeros((4, 2), np.float32), np.full((4, 2), 0.5), list("abcd"))
    assert np.isnan(nothing.micro_auroc).all()
    assert nothing.redrawn == 0
    alone = run(np.array([[1, 0]], np.float32), np.array([[0.9, 0.1]]), ["a"])
    assert (alone.micro_auroc == 1).all()


def test_a_label_that_counts_with_one_class_makes_macro_undefined():
    y_true, y_score, patient_ids = cohort(patients=20)
    y_true[:, 0] = 0
    everything = np.ones(4, bool)
    result = bootstrap(y_true, y_score, patient_ids, everything, board_key="b", replicates=3)
    assert np.isnan(result.macro_auroc).all()
    assert np.isnan(interval(0.5, result)).all()
    assert np.isfinite(result.micro_auroc).all()


def test_scores_that_are_not_numbers_are_refused():
    y_true, y_score, patient_ids = cohort()
    y_score[0, 0] = np.nan
    with pytest.raises(DataError, match="not numbers"):
        run(y_true, y_score, patient_ids)


def test_memory_does_not_grow_with_replicates():
    y_true, y_score, patient_ids = cohort(patients=3000)

    def peak(replicates: int) -> int:
        tracemalloc.start()
        run(y_true, y_score, patient_ids, replicates=replicates)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(1000), peak(3000)
    assert few < 100 * 2**20
    # Whether all threads hold their largest array at the same moment is chance. The weights of the
    # other replicates alone would be three times that.
    assert many < few + 2000 * 5 * 8 + module.MOST_THREADS * module.CHUNK_BYTES + 2**20


def simulated(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six images per patient that share their label and most of their scores' noise."""
    patients = np.repeat(np.arange(150), 6)
    y_true = (rng.random(150) < 0.3)[patients].astype(np.float32)
    shared = rng.normal(size=(150, 1))[patients]
    noise = 0.9 * shared + 0.44 * rng.normal(size=(900, 1))
    return y_true[:, None], y_true[:, None] + noise, patients.astype(str)


@pytest.mark.slow
def test_intervals_cover_and_those_without_patients_do_not():
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    truth = norm.cdf(1 / np.hypot(0.9, 0.44) / np.sqrt(2))
    covered = {"by patient": 0, "by image": 0}
    for number in range(300):
        y_true, y_score, patients = simulated(rng)
        groups = {"by patient": patients, "by image": np.arange(900).astype(str)}
        for name, ids in groups.items():
            result = run(y_true, y_score, ids, replicates=300, board_key=str(number))
            low, high = interval(float(label_auroc(y_true, y_score)[0]), result)
            covered[name] += bool(low <= truth <= high)
    assert 0.91 < covered["by patient"] / 300 < 0.98
    assert covered["by image"] / 300 < 0.75


@pytest.mark.slow
def test_equal_models_differ_significantly_five_times_in_a_hundred():
    rng = np.random.default_rng(0)
    significant = 0
    for number in range(400):
        y_true, y_score, patients = simulated(rng)
        rivals = [y_score + 0.5 * rng.normal(size=(150, 1))[patients.astype(int)] for _ in range(2)]
        rows = [run(y_true, r, patients, replicates=200, board_key=str(number)) for r in rivals]
        estimates = [float(label_auroc(y_true, rival)[0]) for rival in rivals]
        one, other = (
            SeedScores.alone(estimate, row.macro_auroc)
            for estimate, row in zip(estimates, rows, strict=True)
        )
        spread = spread_of_difference(one, other, rows[0].patients.macro.of("auroc"))
        significant += p_value(one.mean - other.mean, spread) < 0.05
    assert 0.02 < significant / 400 < 0.09
