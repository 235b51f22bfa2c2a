"""Intervals and tests: bounds that hold their estimate, against SciPy and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cxrbench.metrics.intervals import (
    UNKNOWN,
    WITHOUT_INTERVAL,
    SeedScores,
    Spread,
    difference_interval,
    joined,
    measure_interval,
    p_value,
    share_interval,
    spread,
    spread_of_difference,
    t_quantile,
)
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import (
    EffectivePatients,
    counted_labels,
    effective_number,
    patient_table,
    split_patients,
)
from cxrbench.metrics.resampling import board_resampler
from cxrbench.metrics.scorers import Images, measure, resample, scorers_of

SHARES = st.floats(0, 1, allow_subnormal=False)


def scores(values, replicates) -> SeedScores:
    return SeedScores(np.asarray(values), np.asarray(replicates))


@pytest.mark.parametrize("events", [0, 7, 20])
def test_a_share_of_independent_patients_has_wilsons_interval(events):
    share = events / 20
    exact = Spread(share * (1 - share) / 20, math.inf)
    expected = stats.binomtest(events, 20).proportion_ci(method="wilson")
    assert share_interval(share, exact, 20) == pytest.approx((expected.low, expected.high))


def test_few_patients_have_a_wider_interval():
    few, many = (share_interval(0.8, Spread(0.01, df), 5) for df in (4, math.inf))
    assert few[0] < many[0] < 0.8 < many[1] < few[1]


def test_a_value_without_variance_is_exact_unless_it_is_0_or_1():
    assert share_interval(0.5, Spread(0.0, 9), 10) == (0.5, 0.5)
    low, high = share_interval(1.0, Spread(0.0, 9), 10)
    assert 0.5 < low < 0.8
    assert high == 1.0


def test_the_bias_moves_the_interval_which_keeps_the_estimate():
    plain = share_interval(0.4, Spread(0.0004, 50), 51)
    moved = share_interval(0.4, Spread(0.0004, 50), 51, bias=0.1)
    assert moved[0] < plain[0] - 0.08
    assert moved[1] == 0.4


def test_what_is_unknown_has_no_bounds():
    for bounds in (
        share_interval(0.5, UNKNOWN, 10),
        share_interval(math.nan, Spread(0.1, 9), 10),
        difference_interval(0.5, UNKNOWN),
        measure_interval("auroc", scores([0.5], [[0.5, math.nan]]), 10),
        measure_interval("auroc", scores([0.5], [[0.5, 0.6]]), 1),
        measure_interval("ece", scores([0.5], [[0.5, 0.6]]), 10),
    ):
        assert np.isnan(bounds).all()


@given(
    value=SHARES,
    variance=st.floats(0, 1),
    freedom=st.floats(0.1, 1e6),
    patients=st.floats(1.01, 1e6),
    bias=st.floats(-1, 1),
)
def test_no_share_is_outside_its_interval_and_no_bound_outside_0_and_1(
    value, variance, freedom, patients, bias
):
    low, high = share_interval(value, Spread(variance, freedom), patients, bias=bias)
    assert 0 <= low <= value <= high <= 1


@given(
    seed=st.integers(0, 10_000),
    patients=st.integers(2, 40),
    prevalence=st.sampled_from([0.02, 0.2, 0.9]),
    strength=st.sampled_from([0.0, 1.0, 30.0]),
    seeds=st.integers(1, 3),
)
def test_every_measure_of_any_cohort_is_inside_its_interval(
    seed, patients, prevalence, strength, seeds
):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), rng.geometric(0.4, patients))
    y_true = (rng.random((len(owner), 2)) < prevalence).astype(np.float32)
    y_true[rng.random(y_true.shape) < 0.1] = np.nan
    table = patient_table(y_true, owner.astype(str))
    resampler = board_resampler("k", table, counted_labels(y_true, owner.astype(str)))
    estimates, replicates = [], []
    for _ in range(seeds):
        logits = strength * (np.nan_to_num(y_true) - 0.5) + rng.normal(size=y_true.shape)
        y_score = (1 / (1 + np.exp(-logits))).round(2)
        images = Images(y_true, y_score, y_score, np.full(2, 0.5), table.index, len(table))
        scorers = scorers_of(images)
        estimates.append(measure(scorers, np.ones((len(table), 1))))
        replicates.append(resample([scorers], resampler, 20)[0][0])
    for name in MEASURES:
        for label in range(2):
            effective = EffectivePatients.counted(
                table.positives[:, label], table.negatives[:, label]
            )
            values = [one.labels[name][label, 0] for one in estimates]
            drawn = np.stack([one.labels[name][label] for one in replicates])
            low, high = measure_interval(name, scores(values, drawn), effective.of(name))
            if math.isnan(low):
                unknown = np.isnan(drawn).any() or effective.of(name) <= 1
                assert unknown or name in WITHOUT_INTERVAL
            else:
                assert 0 <= low <= np.mean(values) <= high <= 1


def test_patients_of_one_size_count_as_many_as_they_are():
    assert effective_number(np.full(12, 3)) == pytest.approx(12)
    assert effective_number(np.array([100] + [1] * 100)) == pytest.approx(3.96, abs=0.01)
    assert effective_number(np.zeros(3, int)) == 0
    effective = EffectivePatients.counted(np.array([2, 2, 0, 0]), np.array([1, 1, 1, 5]))
    assert effective.of("recall") == pytest.approx(2)
    assert effective.of("specificity") == pytest.approx(64 / 28)
    assert effective.of("auroc") == pytest.approx(2)
    assert EffectivePatients.from_json(effective.to_json()) == effective


def test_a_mean_over_labels_is_known_as_well_as_its_rare_labels():
    """Two labels alike count together; a common one beside a rare one adds little."""
    of = {n: EffectivePatients(n, 100.0, 100.0) for n in (1.0, 6.0, 90.0)}
    macro = EffectivePatients.of_mean
    assert macro([of[6.0], of[6.0]], 100).positive == pytest.approx(11)
    assert 6 < macro([of[6.0], of[90.0]], 100).positive < 8
    assert macro([of[90.0]] * 2, 100).positive == 100, "no more than all"
    assert macro([of[1.0]], 100).positive == macro([], 100).positive == 0
    assert macro([of[6.0]], 100).known == 100


def test_the_patients_of_a_split():
    y_true = np.array([[1, 0], [1, np.nan], [0, 1], [0, 0]], np.float32)
    table = patient_table(y_true, ["a", "a", "b", "c"])
    patients = split_patients(table, np.array([True, False]))
    assert patients.labels[0] == EffectivePatients(1.0, 2.0, pytest.approx(16 / 6))
    assert patients.labels[1] == EffectivePatients(1.0, 2.0, 3.0)
    assert patients.micro.positive == pytest.approx(9 / 5)
    assert patients.macro.known == pytest.approx(16 / 6)


def test_one_seed_has_the_variance_of_its_replicates():
    drawn = np.random.default_rng(0).normal(0.8, 0.02, (1, 400))
    result = spread(scores([0.8], drawn), 101)
    assert result.variance == pytest.approx(drawn.var(ddof=1) * 1.01)
    assert result.freedom == 100


def test_welch_and_satterthwaite():
    """Two means of independent groups: SciPy's test of unequal variances."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 5), rng.normal(1, 3, 9)
    both = joined([Spread(one.var(ddof=1) / len(one), len(one) - 1) for one in (a, b)])
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert both.freedom == pytest.approx(expected.df)
    assert p_value(float(a.mean() - b.mean()), both) == pytest.approx(expected.pvalue)
    low, high = difference_interval(float(a.mean() - b.mean()), both)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval()))


def test_test_noise_between_seeds_is_counted_once():
    """Seeds that differ by test noise alone add nothing to what their mean's replicates hold."""
    rng = np.random.default_rng(0)
    variances = []
    for _ in range(400):
        seeds, shared, own = 4, 0.02, 0.01
        values = rng.normal(0, shared) + rng.normal(0, own, seeds)
        drawn = rng.normal(0, shared, 300) + rng.normal(0, own, (seeds, 300))
        variances.append(spread(scores(values, values[:, None] + drawn), 1e6).variance)
    truth = shared**2 + own**2 / seeds
    assert np.mean(variances) == pytest.approx(truth, rel=0.06)
    assert truth + own**2 / seeds > 1.05 * truth, "what it was when it was counted twice"


def test_few_seeds_cover_what_they_say():
    """A mean over 2 seeds of an estimate on drawn patients: both vary, and the truth is 0.5."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1500):
        values = 0.5 + rng.normal(0, 0.02) + rng.normal(0, 0.03, 2)
        drawn = values[:, None] + rng.normal(0, 0.02, 200)
        low, high = measure_interval("recall", scores(values, drawn), 1000)
        covered.append(low <= 0.5 <= high)
    assert 0.91 < np.mean(covered) < 0.99, "a normal quantile and s²/S: 0.86"


def test_a_difference_of_rows_that_share_their_patients():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.1, 500)
    a, b = (shared + rng.normal(0, 0.01, 500) for _ in range(2))
    result = spread_of_difference(scores([0.7], a[None]), scores([0.6], b[None]), 1e9)
    assert result.variance == pytest.approx(np.var(a - b, ddof=1))
    assert p_value(0.0, result) == 1.0
    assert p_value(0.1, Spread(0.0, 5)) == 0.0
    assert math.isnan(p_value(0.1, UNKNOWN))


def test_a_difference_between_equal_seeds_is_exact():
    assert difference_interval(0.0, Spread(1e-32, 90.0)) == (0.0, 0.0)
    low, high = difference_interval(0.0, Spread(1e-8, 90.0))
    assert low == -high < -1e-4


def test_the_t_quantile():
    assert t_quantile(0.975, math.inf) == pytest.approx(1.959964)
    assert t_quantile(0.975, 4) == pytest.approx(2.776445)
    assert math.isnan(t_quantile(0.975, math.nan))
