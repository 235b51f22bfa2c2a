"""The linear head: scikit-learn's regression, and a strength that noise cannot mislead."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrbench.modeling.linear import (
    DEFAULT_STRENGTH,
    STRENGTHS,
    LinearHead,
    _strongest_within_error,
    fit_linear_head,
)


def cohort(images=300, columns=(20, 8), labels=3, seed=0):
    """Two parts with different scales; labels depend on the first columns of the first part."""
    rng = np.random.default_rng(seed)
    parts = [
        (rng.normal(size=(images, width)) * 10**index + index).astype(np.float32)
        for index, width in enumerate(columns)
    ]
    chances = 1 / (1 + np.exp(-1.5 * parts[0][:, :labels] + 0.5))
    truth = (rng.random((images, labels)) < chances).astype(np.float32)
    patients = [f"p{row // 2}" for row in range(images)]
    return parts, truth, patients


def fit(parts, truth, patients, seed=0) -> LinearHead:
    return fit_linear_head(dict(zip("abc", parts, strict=False)), truth, patients, seed=seed)


def logits(head: LinearHead, parts):
    return np.concatenate(parts, axis=1) @ head.kernel + head.bias


def as_fitted(parts, head):
    parts = [part for name, part in zip("abc", parts, strict=False) if name not in head.left_out]
    return np.concatenate([(p - p.mean(0)) / p.std(0) / np.sqrt(p.shape[1]) for p in parts], axis=1)


def test_it_is_scikit_learns_regression_with_the_same_strength_times_a_factor():
    parts, truth, patients = cohort()
    truth[::3, 0] = np.nan  # unknown, not absent
    head = fit(parts, truth, patients)
    assert head.slope >= 1
    columns = as_fitted(parts, head)
    for label in range(truth.shape[1]):
        known = ~np.isnan(truth[:, label])
        rival = LogisticRegression(C=1 / head.strength, tol=1e-9, max_iter=5000)
        rival.fit(columns[known], truth[known, label])
        difference = logits(head, parts)[:, label] - head.slope * (columns @ rival.coef_[0])
        np.testing.assert_allclose(difference, difference.mean(), atol=5e-3)


def test_probabilities_are_as_high_as_the_labels_are_frequent_whatever_the_penalty():
    parts, truth, patients = cohort(images=1000)
    head = fit(parts, truth, patients)
    chances = 1 / (1 + np.exp(-logits(head, parts)))
    np.testing.assert_allclose(chances.mean(axis=0), truth.mean(axis=0), atol=0.01)
    high = chances[:, 0] > 0.6
    assert high.sum() > 50
    assert abs(truth[high, 0].mean() - chances[high, 0].mean()) < 0.08


def test_the_same_seed_gives_the_same_head():
    parts, truth, patients = cohort()
    one, other = (fit(parts, truth, patients, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.kernel, other.kernel)
    assert one.strength == other.strength


def test_a_wide_part_of_noise_hardly_hurts_a_narrow_part_that_helps():
    train, truth, patients = cohort(images=400, columns=(4,), seed=1)
    test, test_truth, _ = cohort(images=2000, columns=(4,), seed=2)
    rng = np.random.default_rng(5)
    noise = [rng.normal(size=(n, 256)).astype(np.float32) for n in (400, 2000)]

    def macro(parts, test_parts):
        head = fit(parts, truth, patients)
        return roc_auc_score(test_truth, logits(head, test_parts), average="macro")

    alone = macro(train, test)
    beside = macro([*train, noise[0]], [*test, noise[1]])
    assert alone > 0.75
    assert beside > alone - 0.01


def test_a_part_that_only_lowers_the_score_in_cross_validation_is_left_out():
    parts, truth, patients = cohort(images=400, columns=(4,))
    noise = np.random.default_rng(5).normal(size=(400, 256)).astype(np.float32)
    head = fit([*parts, noise], truth, patients)
    assert head.left_out == ("b",)
    assert not head.kernel[4:].any()
    assert head.kernel[:4].all()


def test_constant_columns_and_labels_change_nothing_and_stop_nothing():
    parts, truth, patients = cohort()
    parts[1][:, 0] = 7.0
    truth[:, 2] = 0.0
    head = fit(parts, truth, patients)
    assert np.isfinite(head.kernel).all()
    assert np.isfinite(head.bias).all()
    assert (logits(head, parts)[:, 2] < -3).all()


@pytest.mark.parametrize("patients", [["a"] * 12, [f"p{row}" for row in range(12)]])
def test_where_nothing_can_be_chosen_the_default_strength_serves(patients):
    parts, truth, _ = cohort(images=12)
    assert fit(parts, truth, patients).strength == DEFAULT_STRENGTH


def test_the_strongest_within_one_standard_error_is_chosen():
    rising = np.tile(np.linspace(0.5, 0.6, len(STRENGTHS))[:, None], (1, 5))
    assert _strongest_within_error(rising) == STRENGTHS[-1]
    assert _strongest_within_error(rising[::-1]) == STRENGTHS[0]
    uncertain = rising[::-1] + np.array([-0.05, -0.05, 0.0, 0.05, 0.05])  # standard error 0.022
    assert _strongest_within_error(uncertain) == STRENGTHS[1]


def late(parts, truth, patients, seed=0) -> LinearHead:
    named = dict(zip("abc", parts, strict=False))
    return fit_linear_head(named, truth, patients, seed=seed, late=True)


def test_late_fusion_adds_the_logits_of_a_regression_for_each_part():
    parts, truth, patients = cohort(images=600)
    parts[1][:, 0] += 3 * truth[:, 0]
    head = late(parts, truth, patients)
    assert set(head.choices) == {"strength", "slope", "left_out", "weights"}
    assert min(head.weights.values()) > 0
    alone = {name: fit([part], truth, patients) for name, part in zip("ab", parts, strict=True)}
    added = sum(
        head.weights[name] / one.slope * (part @ one.kernel)
        for (name, one), part in zip(alone.items(), parts, strict=True)
    )
    difference = logits(head, parts) - added
    np.testing.assert_allclose(difference, np.tile(difference[:1], (600, 1)), atol=2e-3)
    chances = 1 / (1 + np.exp(-logits(head, parts)))
    np.testing.assert_allclose(chances.mean(axis=0), truth.mean(axis=0), atol=0.01)


def test_late_fusion_loses_little_by_a_part_without_information():
    parts, truth, patients = cohort(images=400, columns=(20, 256))
    test_parts, test_truth, _ = cohort(images=2000, columns=(20, 256), seed=1)
    with_noise, without = late(parts, truth, patients), fit(parts[:1], truth, patients)
    for label in range(truth.shape[1]):
        after, before = (
            roc_auc_score(test_truth[:, label], logits(head, used)[:, label])
            for head, used in ((with_noise, test_parts), (without, test_parts[:1]))
        )
        assert after > before - 0.02


def test_late_fusion_of_one_part_is_its_regression():
    parts, truth, patients = cohort()
    one, other = late(parts[:1], truth, patients), fit(parts[:1], truth, patients)
    np.testing.assert_array_equal(one.kernel, other.kernel)
    assert one.choices == other.choices


def test_late_fusion_with_unknown_labels_and_few_patients():
    parts, truth, _ = cohort(images=12, labels=2)
    truth[:, 1] = np.nan
    head = late(parts, truth, ["one"] * 6 + ["other"] * 6)
    assert np.isfinite(head.kernel).all()
    assert np.isfinite(head.bias).all()
