"""Temperature and isotonic calibration: they recover what was distorted, and keep the order."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from cxrbench.errors import DataError, SettingsError
from cxrbench.metrics.calibration import Calibration, calibrate, check_method, uncalibrated
from cxrbench.metrics.thresholds import choose_thresholds, parse_rule


def distorted(images: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True probabilities (N, 2), truth drawn from them, and overconfident scores."""
    rng = np.random.default_rng(0)
    probability = expit(rng.normal(-1, 1.5, (images, 2)))
    y_true = (rng.random(probability.shape) < probability).astype(np.float32)
    return probability, y_true, expit(logit(probability) * [3.0, 0.5])


def test_temperature_finds_what_the_logits_were_multiplied_by():
    probability, y_true, y_score = distorted()
    found = calibrate("temperature", y_true, y_score)
    assert [label.temperature for label in found.labels] == pytest.approx([3.0, 0.5], rel=0.05)
    np.testing.assert_allclose(found.apply(y_score), probability, atol=0.02)


def test_isotonic_is_scikit_learns():
    _, y_true, y_score = distorted(2_000)
    found = calibrate("isotonic", y_true, y_score).apply(y_score)
    expected = IsotonicRegression(out_of_bounds="clip").fit_transform(y_score[:, 0], y_true[:, 0])
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-9)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("method", ["none", "temperature", "isotonic"])
def test_what_is_saved_applies_the_same_to_new_scores(method):
    _, y_true, y_score = distorted(500)
    found = calibrate(method, y_true, y_score)
    again = Calibration.from_json(json.loads(json.dumps(found.to_json())))
    new = np.array([[0.0, 1.0], [0.37, 0.2], [1.0, 0.0]])
    np.testing.assert_array_equal(again.apply(new), found.apply(new))
    assert np.isfinite(found.apply(new)).all()


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_label_with_one_class_stays_as_it_is(method):
    _, y_true, y_score = distorted(300)
    y_true[:, 1] = 0
    y_true[:10, 0] = np.nan
    found = calibrate(method, y_true, y_score)
    np.testing.assert_array_equal(found.apply(y_score)[:, 1], y_score[:, 1])
    assert uncalibrated(found, ("Mass", "Hernia")) == ("Hernia",)


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingsError, match="platt"):
        check_method("platt")
    with pytest.raises(DataError):
        calibrate("temperature", np.ones((2, 1), np.float32), np.array([[0.5], [np.nan]]))


def test_thresholds_by_target_sensitivity_find_that_share_of_the_positives():
    _, y_true, y_score = distorted(1_000)
    y_true[:30, 0] = np.nan
    for target in (0.5, 0.9, 0.95, 1.0):
        cuts = choose_thresholds(y_true, y_score, parse_rule(f"sensitivity={target}"))
        for label, cut in enumerate(cuts):
            positives = y_score[y_true[:, label] == 1, label]
            assert (positives >= cut).mean() >= target - 1e-12
            assert (positives > cut).mean() < target, "no higher threshold would do"
    exact = choose_thresholds(
        np.ones((11, 1), np.float32) * (np.arange(11) > 0)[:, None],
        np.arange(11.0)[:, None] / 10,
        parse_rule("sensitivity=0.9"),
    )
    assert exact.tolist() == [0.2], "nine of ten are 90 %"


@pytest.mark.parametrize(
    "text",
    ["", "best", "sensitivity", "sensitivity=", "sensitivity=0", "sensitivity=1.1",
     "sensitivity=nan", "sensitivity=high"],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(text):
    with pytest.raises(SettingsError, match="--thresholds"):
        parse_rule(text)


def test_rules_are_told_as_they_are_spelt():
    assert [parse_rule(text).text for text in ("youden", "sensitivity=0.90")] == [
        "youden",
        "sensitivity=0.9",
    ]
    for text in ("sensitivity=1", "sensitivity=0.9999999"):
        assert (parse_rule(text).text, parse_rule(parse_rule(text).text)) == (
            text,
            parse_rule(text),
        )
