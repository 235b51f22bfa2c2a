"""Paired tests, Holm's correction and ranks with ties."""

from __future__ import annotations

import math
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cxrbench.metrics import ranking
from cxrbench.metrics.intervals import SeedScores, p_value, spread_of_difference
from cxrbench.metrics.ranking import holm
from cxrbench.metrics.ranking import ranks as ranks_of_rows

NAN = float("nan")


def row(estimate: float, seed: int, spread: float = 0.001) -> np.ndarray:
    """Replicates around the estimate, with noise that all rows share and some of its own."""
    shared = np.random.default_rng(0).normal(scale=0.02, size=1000)
    return estimate + shared + np.random.default_rng(seed).normal(scale=spread, size=1000)


PATIENTS = 500.0


def alone(estimate: float, replicates: np.ndarray) -> SeedScores:
    """A row of one seed."""
    return SeedScores(np.array([estimate]), replicates[None])


def ranks(estimates, replicates):
    """The ranks of rows of one seed each."""
    return ranks_of_rows(list(map(alone, estimates, replicates)), PATIENTS)


def paired_p_value(a: SeedScores, b: SeedScores) -> float:
    return p_value(a.mean - b.mean, spread_of_difference(a, b, PATIENTS))


def test_p_is_students_in_the_paired_standard_error():
    a, b = row(0.80, 1), row(0.795, 2)
    error = np.std(a - b, ddof=1) * np.sqrt(PATIENTS / (PATIENTS - 1))
    one, other = alone(0.80, a), alone(0.795, b)
    expected = 2 * stats.t.sf(0.005 / error, PATIENTS - 1)
    assert paired_p_value(one, other) == pytest.approx(expected, rel=1e-9)
    assert paired_p_value(other, one) == paired_p_value(one, other)


def test_pairing_finds_what_separate_intervals_hide():
    a, b = row(0.80, 1), row(0.79, 2)
    assert np.quantile(a, 0.025) < np.quantile(b, 0.975)
    assert 0 < paired_p_value(alone(0.80, a), alone(0.79, b)) < 1e-9  # far below 1 / 1000


def test_identical_rows_do_not_differ():
    a = row(0.8, 1)
    assert paired_p_value(alone(0.8, a), alone(0.8, a.copy())) == 1.0
    values, drawn = np.array([0.7, 0.8, 0.9]), np.stack([row(0.7, 1), row(0.8, 2), row(0.9, 3)])
    forth, back = SeedScores(values, drawn), SeedScores(values[::-1], drawn[::-1])
    assert paired_p_value(forth, back) == 1.0


def test_a_difference_without_spread_is_certain():
    a = row(0.8, 1)
    assert paired_p_value(alone(0.8, a), alone(0.7, a - 0.1)) == 0.0
    half = np.full(1000, 0.5)
    assert paired_p_value(alone(0.5, half), alone(0.5, half)) == 1.0


@pytest.mark.parametrize("bad", [np.array([0.5, NAN]), np.array([0.5])])
def test_undefined_replicates_give_no_p(bad):
    assert math.isnan(paired_p_value(alone(0.5, bad), alone(0.4, np.zeros(len(bad)))))


def test_undefined_estimates_give_no_p():
    assert math.isnan(paired_p_value(alone(NAN, row(0.8, 1)), alone(0.8, row(0.8, 2))))


def test_holm_by_hand():
    # 0.005 x 4; 0.01 x 3; 0.03 x 2; 0.04 x 1, raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.4, 0.9]) == pytest.approx((0.8, 0.9))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_does_not_count_what_was_not_tested():
    assert holm([0.02, NAN, 0.04]) == pytest.approx((0.04, NAN, 0.04), nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_rejects_as_stepping_down_does(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.2, 0.7):
        rejected = set()
        for place in sorted(range(len(p_values)), key=p_values.__getitem__):
            if p_values[place] * (len(p_values) - len(rejected)) > level:
                break
            rejected.add(place)
        assert {place for place, p in enumerate(adjusted) if p <= level} == rejected


def test_ties_share_a_rank_and_push_the_next_down():
    estimates = [0.70, 0.80, 0.8001, 0.50, 0.60]
    replicates = [row(value, seed) for seed, value in enumerate(estimates, start=1)]
    assert ranks(estimates, replicates) == (3, 1, 1, 5, 4)


def test_a_tie_need_not_be_transitive():
    estimates = [0.80, 0.7975, 0.795]
    replicates = [row(value, seed) for seed, value in enumerate(estimates, start=1)]
    assert ranks(estimates, replicates) == (1, 1, 2)


def test_many_rows_make_the_same_difference_insignificant():
    estimates = [0.80, 0.7964]
    replicates = [row(value, seed) for seed, value in enumerate(estimates, start=1)]
    assert ranks(estimates, replicates) == (1, 2)
    copies = 8
    crowd = ranks(estimates + [0.80] * copies, replicates + [row(0.80, 1)] * copies)
    assert crowd == (1,) * 10


def test_a_row_without_an_estimate_has_no_rank_and_no_say():
    estimates = [0.8, NAN, 0.7]
    replicates = [row(0.8, 1), np.full(1000, NAN), row(0.7, 3)]
    assert ranks(estimates, replicates) == (1, None, 2)
    assert ranks([NAN], [np.full(10, NAN)]) == (None,)
    assert ranks([0.7], [row(0.7, 1)]) == (1,)
    assert ranks([], []) == ()


def seeds(estimate: float, number: int, scatter: float, count: int = 3) -> SeedScores:
    """A row of several seeds that differ by so much."""
    own = scatter * np.random.default_rng(number).normal(size=count)
    drawn = [row(estimate, 100 * number + seed) for seed in range(count)]
    return SeedScores(estimate + own - own.mean(), np.stack(drawn) + own[:, None])


def test_rows_whose_seeds_scatter_are_harder_to_tell_apart():
    assert ranks_of_rows([seeds(0.80, 1, 1e-4), seeds(0.7964, 2, 1e-4)], PATIENTS) == (1, 2)
    assert ranks_of_rows([seeds(0.80, 1, 1e-4), seeds(0.7964, 2, 1e-2)], PATIENTS) == (1, 1)


def ranks_one_pair_at_a_time(rows):
    """What `ranks` is defined as, pair by pair."""
    pairs = list(combinations(range(len(rows)), 2))
    adjusted = holm([paired_p_value(rows[a], rows[b]) for a, b in pairs])
    better = [1] * len(rows)
    for (a, b), p in zip(pairs, adjusted, strict=True):
        if p < 0.05:
            better[b if rows[a].mean > rows[b].mean else a] += 1
    return tuple(
        None if math.isnan(one.mean) else count for one, count in zip(rows, better, strict=True)
    )


@pytest.mark.parametrize("pairs_at_once", [1, 90, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_all_pairs_at_once_rank_as_one_pair_at_a_time(seed, pairs_at_once, monkeypatch):
    monkeypatch.setattr(ranking, "_PAIRS_AT_ONCE", pairs_at_once)
    rng = np.random.default_rng(seed)
    estimates = rng.choice([0.70, 0.7004, 0.71, 0.75, 0.8], 40) + rng.normal(scale=0.003, size=40)
    rows = [
        seeds(value, number, rng.choice([1e-4, 1e-3, 1e-2]), rng.integers(2, 5))
        if number % 3 == 0
        else alone(value, row(value, number))
        for number, value in enumerate(estimates.tolist())
    ]
    rows[4] = alone(NAN, np.full(1000, NAN))
    rows[5].replicates[0, 17] = NAN  # an estimate, and no interval
    rows[8] = alone(rows[7].mean, rows[7].replicates[0].copy())
    rows[11] = alone(rows[10].mean - 1e-9, rows[10].replicates[0] - 1e-9)  # without any spread
    assert ranks_of_rows(rows, PATIENTS) == ranks_one_pair_at_a_time(rows)
    assert len(set(ranks_of_rows(rows, PATIENTS))) > 5
    assert set(ranks_of_rows(rows, 1.0)) == {1, None}, "one patient says nothing"


def test_copies_of_a_row_are_ties_however_many():
    copies = [row(0.8, 1)] * 60
    assert ranks([0.8] * 60, copies) == (1,) * 60
    shifted = [row(0.8, 1) - 1e-10 * number for number in range(60)]
    estimates = [0.8 - 1e-10 * number for number in range(60)]
    assert ranks(estimates, shifted) == tuple(range(1, 61))


def test_a_thousand_rows_are_ranked_at_once():
    rng = np.random.default_rng(0)
    shared = rng.normal(scale=0.02, size=1000)
    estimates = rng.uniform(0.6, 0.8, 1000)
    replicates = list(estimates[:, None] + shared + rng.normal(scale=0.005, size=(1000, 1000)))
    began = time.perf_counter()
    found = ranks(estimates.tolist(), replicates)
    assert time.perf_counter() - began < 5  # 0.3 s on two slow cores; a loop over pairs takes 20
    assert found[int(np.argmax(estimates))] == 1
