"""What is said of samples whose truth is known, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.perf.verdict import (
    Criterion,
    Effect,
    judge,
    no_verdict,
    paired_effect,
    unpaired_effect,
)


def ratios(rng, change, restarts=6, rounds=4, *, between=0.005, within=0.02):
    """Log-ratios of a head that takes 1 + change times as long, with both kinds of noise."""
    own = rng.normal(0, between, (restarts, 1))
    return np.log1p(change) + own + rng.normal(0, within, (restarts, rounds))


def told(rng, change, **noise):
    effects = paired_effect(ratios(rng, change, **noise)), paired_effect(ratios(rng, 0, **noise))
    return judge({"path": effects}, Criterion())["path"]


@pytest.mark.parametrize(
    ("change", "state"), [(0.2, "slower"), (-0.2, "faster"), (0.0, "no change")]
)
def test_a_clear_case_is_told(change, state):
    found = told(np.random.default_rng(0), change)
    assert found.state == state
    assert found.ratio == pytest.approx(1 + change, abs=0.02)
    assert found.low < found.ratio < found.high
    assert found.control == pytest.approx(1, abs=0.02)
    assert not found.why


def test_a_change_at_the_threshold_is_not_told():
    states = [told(np.random.default_rng(seed), 0.05).state for seed in range(50)]
    assert states.count("cannot tell") >= 45


def test_noise_makes_it_tell_less_and_not_more():
    loud = {"between": 0.08, "within": 0.2}
    states = [told(np.random.default_rng(seed), 0, **loud).state for seed in range(200)]
    assert states.count("slower") + states.count("faster") <= 2
    assert states.count("cannot tell") > 150


def test_a_control_that_differs_from_itself_says_nothing_of_its_path_alone():
    steady = np.random.default_rng(0)
    good = paired_effect(ratios(steady, 0.2)), paired_effect(ratios(steady, 0))
    bad = paired_effect(ratios(steady, 0.2)), paired_effect(ratios(steady, 0.04))
    found = judge({"good": good, "bad": bad}, Criterion())
    assert found["good"].state == "slower"
    assert found["bad"].state == "cannot tell"
    assert "too much noise: base differs from itself by" in found["bad"].why


def test_few_restarts_are_not_taken_for_many():
    """The interval of six restarts holds the truth 95 times in 100, as that of a t-test does."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        effect = paired_effect(ratios(rng, 0, between=0.03, within=0.005))
        half = 2.571 * effect.error  # Student's t with 5 degrees of freedom
        held += abs(effect.estimate) < half
    assert 0.92 <= held / 400 <= 1


def test_many_paths_share_the_error_rate():
    """The same evidence that tells one path apart does not tell one of a hundred."""
    weak = Effect(0.10, 0.011, 10), Effect(0.0, 0.011, 10)
    assert judge({"path": weak}, Criterion())["path"].state == "slower"
    assert judge({"path": weak}, Criterion(), paths=100)["path"].state == "cannot tell"


def test_a_later_look_asks_for_more():
    weak = Effect(0.10, 0.011, 10), Effect(0.0, 0.011, 10)
    assert judge({"path": weak}, Criterion(look=9))["path"].state == "cannot tell"


def test_a_wider_threshold_makes_less_of_a_change():
    rng = np.random.default_rng(3)
    effects = paired_effect(ratios(rng, 0.08)), paired_effect(ratios(rng, 0))
    assert judge({"path": effects}, Criterion(threshold=0.02))["path"].state == "slower"
    assert judge({"path": effects}, Criterion(threshold=0.30))["path"].state == "no change"


def test_equal_numbers_are_no_change():
    same = paired_effect(np.zeros((6, 4)))
    assert judge({"path": (same, same)}, Criterion())["path"].state == "no change"


def test_sides_that_were_not_measured_in_turn():
    rng = np.random.default_rng(0)
    base, head = np.log(0.01) + ratios(rng, 0), np.log(0.01) + ratios(rng, 0.3)
    effect = unpaired_effect(base, head)
    assert np.exp(effect.estimate) == pytest.approx(1.3, rel=0.03)
    assert effect.freedom == 10
    assert effect.error > paired_effect(head).error


def test_where_nothing_may_be_said_the_figures_stand():
    rng = np.random.default_rng(0)
    found = no_verdict(paired_effect(ratios(rng, 0.2)), paired_effect(ratios(rng, 0)), "why")
    assert found.state == "cannot tell"
    assert found.why == "why"
    assert found.ratio > 1.1
