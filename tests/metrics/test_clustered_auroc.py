"""AUROC variances in closed form: DeLong's own formula, hand-made clusters, and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrbench.metrics.auroc import clustered_aurocs, clustered_difference


def delong(y_true, y_score):
    """DeLong's covariance as printed in the paper, by comparing every pair."""
    positives, negatives = y_score[:, y_true == 1], y_score[:, y_true == 0]
    psi = (positives[:, :, None] > negatives[:, None, :]) + 0.5 * (
        positives[:, :, None] == negatives[:, None, :]
    )
    return (
        np.cov(psi.mean(axis=2)) / positives.shape[1]
        + np.cov(psi.mean(axis=1)) / (negatives.shape[1])
    )


def cohort(rng, patients, *, images=4, effect=1.0, models=2):
    """Images of patients that are alike: labels, scores and patients."""
    sick = rng.random(patients) < 0.4
    owner = np.repeat(np.arange(patients), rng.integers(1, images + 1, patients))
    y_true = (sick[owner] ^ (rng.random(len(owner)) < 0.2)).astype(float)
    common = rng.normal(size=patients)[owner] + effect * y_true
    y_score = common + rng.normal(size=(models, len(owner)))
    return y_true, y_score, owner


@pytest.mark.parametrize("decimals", [8, 1, 0], ids=["no ties", "ties", "many ties"])
def test_one_image_for_each_patient_is_delong(decimals):
    rng = np.random.default_rng(1)
    y_true = (rng.random(80) < 0.3).astype(float)
    y_score = (y_true + rng.normal(size=(3, 80))).round(decimals)
    found = clustered_aurocs(y_true, y_score, np.arange(80))
    np.testing.assert_allclose(found.values, [roc_auc_score(y_true, s) for s in y_score])
    np.testing.assert_allclose(found.covariance, delong(y_true, y_score), atol=1e-15)


def test_a_copy_of_every_image_changes_nothing():
    """Twice the same image of a patient is no second observation."""
    y_true, y_score, owner = cohort(np.random.default_rng(2), 60, images=1)
    once = clustered_aurocs(y_true, y_score, owner)
    twice = clustered_aurocs(np.tile(y_true, 2), np.tile(y_score, 2), np.tile(owner, 2))
    np.testing.assert_allclose(twice.values, once.values)
    np.testing.assert_allclose(twice.covariance, once.covariance)
    alone = clustered_aurocs(np.tile(y_true, 2), np.tile(y_score, 2), np.arange(120))
    assert (np.diag(alone.covariance) < 0.6 * np.diag(once.covariance)).all()


def test_it_is_the_variance_over_cohorts():
    """Over many cohorts the areas vary, and vary together, as each cohort alone says they do."""
    rng = np.random.default_rng(3)
    found = [clustered_aurocs(*cohort(rng, 150)) for _ in range(600)]
    spread = np.cov(np.array([one.values for one in found]).T)
    told = np.mean([one.covariance for one in found], axis=0)
    np.testing.assert_allclose(told, spread, rtol=0.15)


def test_order_and_names_of_patients_do_not_matter():
    y_true, y_score, owner = cohort(np.random.default_rng(4), 50)
    order = np.random.default_rng(5).permutation(len(owner))
    one = clustered_aurocs(y_true, y_score, owner)
    names = np.array([f"patient {90 - i}" for i in owner])
    other = clustered_aurocs(y_true[order], y_score[:, order], names[order])
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-9)


def test_unknown_labels_are_left_out():
    y_true, y_score, owner = cohort(np.random.default_rng(6), 50)
    unknown = np.arange(len(owner)) % 5 == 0
    hidden = np.where(unknown, np.nan, y_true)
    one = clustered_aurocs(hidden, y_score, owner)
    other = clustered_aurocs(y_true[~unknown], y_score[:, ~unknown], owner[~unknown])
    np.testing.assert_allclose(one.values, other.values)
    np.testing.assert_allclose(one.covariance, other.covariance)


@pytest.mark.parametrize("label", [0.0, 1.0, np.nan])
def test_one_class_has_no_area(label):
    found = clustered_aurocs(np.full(5, label), np.zeros((2, 5)), np.arange(5))
    assert np.isnan(found.values).all()
    assert found.covariance.shape == (2, 2)
    assert np.isnan(found.covariance).all()


def test_positives_of_one_patient_have_an_area_and_no_variance():
    y_true = np.array([1.0, 1, 0, 0, 0])
    found = clustered_aurocs(y_true, np.arange(5.0)[None], np.array([0, 0, 1, 2, 3]))
    assert found.values.tolist() == [0.0]
    assert np.isnan(found.covariance).all()


def test_a_difference_over_seeds_counts_test_noise_once():
    """Copies of a seed have no noise of their own; seeds of pure noise are no more than that."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(60), 2)
    y_true = (rng.random(120) < 0.3).astype(np.float32)
    one, other = rng.normal(size=(2, 1, 120)) + y_true
    alone = clustered_difference(y_true, one, other, owner, 30.0)[2]
    copies = clustered_difference(y_true, np.repeat(one, 3, 0), other, owner, 30.0)[2]
    assert copies.variance == pytest.approx(alone.variance)
    assert alone.freedom == 29
    covariance = clustered_aurocs(y_true, np.concatenate([one, other]), owner).covariance
    expected = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert alone.variance == pytest.approx(expected)
    seeds = rng.normal(size=(4, 120)) + y_true
    values, _, spread = clustered_difference(y_true, seeds, other, owner, 30.0)
    assert spread.variance >= np.var(values, ddof=1) / 4
    assert 3 < spread.freedom < 29 + 3
    assert np.isnan(clustered_difference(y_true, one, other, owner, 1.0)[2].variance)
