"""What seeds add to an interval over patients."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.metrics.resampling import seed_variance, widened


def test_the_variance_of_a_mean_over_seeds():
    assert seed_variance([0.7, 0.8, 0.9]) == pytest.approx(0.01 / 3)
    assert seed_variance([0.7]) == 0.0
    assert np.isnan(seed_variance([0.7, np.nan]))


def test_nothing_to_add_changes_nothing():
    assert widened(0.8, (0.75, 0.83), 0.0) == (pytest.approx(0.75), pytest.approx(0.83))


def test_standard_errors_add_as_squares():
    low, high = widened(0.0, (-1.959964 * 3, 1.959964 * 3), 16.0)
    assert (low, high) == (pytest.approx(-1.959964 * 5), pytest.approx(1.959964 * 5))


def test_a_crooked_interval_stays_so():
    low, high = widened(0.8, (0.70, 0.82), 0.0001)
    assert 0.8 - low > 2 * (high - 0.8) > 0
    assert low < 0.70
    assert high > 0.82


def test_it_covers_what_it_says():
    """A mean over 4 seeds of an estimate on drawn patients: both vary, and the truth is 0."""
    rng = np.random.default_rng(0)
    patients = rng.normal(scale=0.02, size=4000)
    seeds = rng.normal(scale=0.03, size=(4000, 4))
    covered = [
        low <= 0 <= high
        for low, high in (
            widened(
                shift + own.mean(),
                (shift + own.mean() - 0.0392, shift + own.mean() + 0.0392),
                seed_variance(list(own)),
            )
            for shift, own in zip(patients, seeds, strict=True)
        )
    ]
    assert 0.92 < np.mean(covered) < 0.97


def test_an_interval_that_leaves_the_estimate_out_only_grows():
    """As a calibration error's can: resamples are less calibrated than the split itself."""
    assert widened(0.10, (0.12, 0.20), 0.0) == pytest.approx((0.12, 0.20))
    low, high = widened(0.10, (0.12, 0.20), 0.01**2)
    assert low < 0.12
    assert high > 0.20
