"""The null test of fusions: what it draws, and when it fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrbench.errors import PluginError
from cxrbench.testing import checks_for, null


def areas(vectors: np.ndarray, labels: np.ndarray) -> list[float]:
    """AUROC of a regression of the first 320 rows on the test rows."""
    model = LogisticRegression(C=0.01)
    return [
        roc_auc_score(
            truth[440:], model.fit(vectors[:320], truth[:320]).decision_function(vectors[440:])
        )
        for truth in labels.T
    ]


@pytest.mark.parametrize("maps", [False, True])
def test_the_signal_can_be_learned_and_the_noise_cannot(maps):
    inputs = null.drawn_cohort(0, maps=maps)
    image = inputs.image.mean(axis=(1, 2)) if maps else inputs.image
    assert inputs.image.ndim == (4 if maps else 2)
    assert min(areas(image, inputs.labels)) > 0.6
    assert min(areas(inputs.features["signal"], inputs.labels)) > 0.7
    assert max(areas(inputs.features["noise"], inputs.labels)) < 0.55


def test_each_draw_differs_and_is_the_same_again():
    one, again, other = (null.drawn_cohort(draw, maps=False) for draw in (0, 0, 1))
    np.testing.assert_array_equal(one.image, again.image)
    assert not np.array_equal(one.image, other.image)


def with_loss(monkeypatch, loss: float):
    """The result of the check for a fusion whose score drops by this much."""

    def score(fusion, inputs, *, seed):
        return 0.9 - (loss if "noise" in inputs.features else 0)

    monkeypatch.setattr(null, "macro_auroc", score)
    (check,) = (c for c in checks_for("concat") if (c.part, c.name) == ("concat", "noise"))
    return check()


@pytest.mark.parametrize("loss", [-0.1, 0, 0.049])
def test_a_small_loss_passes_and_is_shown(monkeypatch, loss):
    shown = with_loss(monkeypatch, loss)
    assert shown == f"macro AUROC 0.900 without noise, {0.9 - loss:.3f} with it"


@pytest.mark.parametrize("loss", [0.051, 0.4, math.nan])
def test_a_large_loss_fails_with_advice(monkeypatch, loss):
    with pytest.raises(PluginError, match="concat loses too much") as error:
        with_loss(monkeypatch, loss)
    assert "at most 0.05" in error.value.expected
    assert "concatenate" in error.value.fix
