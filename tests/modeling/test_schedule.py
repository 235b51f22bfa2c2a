"""The schedule against Keras' own callbacks, epoch by epoch."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from cxrbench.modeling.schedule import (
    SMALLEST_LEARNING_RATE,
    TrainingSchedule,
    early_epoch_warning,
    few_positives_warning,
    kept_text,
    schedule_for,
)

# Few values, so that ties and returns to the best score are common; Keras compares in float32.
SCORES = st.sampled_from([0.4, 0.5, 0.5 + 1e-6, 0.55, 0.6, 0.7, 0.8])


@pytest.fixture(scope="module")
def model():
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def kerass_way(model, scores, learning_rate, patience):
    """Learning rate of each epoch, and whether training stops after it, by the callbacks."""
    import keras

    model.optimizer.learning_rate = learning_rate
    model.stop_training = False
    common = {"monitor": "score", "mode": "max", "min_delta": 0}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=patience, **common),
        keras.callbacks.ReduceLROnPlateau(
            factor=0.5, patience=max(1, patience // 2), min_lr=SMALLEST_LEARNING_RATE, **common
        ),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    epochs = []
    for epoch, score in enumerate(scores):
        rate = float(model.optimizer.learning_rate)
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"score": score})
        epochs.append((rate, model.stop_training))
        if model.stop_training:
            break
    return epochs


def our_way(scores, learning_rate, patience):
    schedule, epochs = TrainingSchedule(learning_rate, patience), []
    for score in scores:
        rate = schedule.learning_rate
        schedule = schedule.after(score)
        epochs.append((rate, schedule.exhausted))
        if schedule.exhausted:
            break
    return epochs


@given(
    first=SCORES,
    later=st.lists(st.one_of(SCORES, st.just(math.nan)), max_size=40),
    patience=st.integers(1, 8),
)
@example_settings(max_examples=150, deadline=None)
def test_every_epoch_is_as_with_kerass_callbacks(model, first, later, patience):
    scores = [first, *later]
    ours = our_way(scores, 1e-3, patience)
    kerass = kerass_way(model, scores, 1e-3, patience)
    assert [stops for _, stops in ours] == [stops for _, stops in kerass]
    assert [rate for rate, _ in ours] == pytest.approx([rate for rate, _ in kerass], rel=1e-6)


def test_the_learning_rate_has_a_floor():
    rates = [rate for rate, _ in our_way([0.9] + [0.5] * 8, 3e-7, 4)]
    assert rates == [3e-7] * 3 + [1.5e-7] * 2
    assert TrainingSchedule(1e-7, 2).after(0.9).after(0.5).learning_rate == SMALLEST_LEARNING_RATE


def test_an_equal_score_is_no_improvement_and_nan_never_is():
    schedule = TrainingSchedule(1e-3, 5).after(0.6)
    assert schedule.improved
    assert not schedule.after(0.6).improved
    assert not schedule.after(math.nan).improved
    better = schedule.after(math.nan).after(0.6000001)
    assert better.improved
    assert (better.best_epoch, better.epoch) == (3, 3)


def test_nothing_has_improved_before_the_first_epoch():
    assert not TrainingSchedule(1e-3, 5).improved
    assert not TrainingSchedule(1e-3, 5).exhausted


def test_with_a_floor_early_scores_do_not_count():
    schedule = schedule_for(1e-3, 10, epochs=100, steps=6, min_steps=500)
    assert (schedule.first, schedule.patience) == (75, 75)  # three quarters of the epochs
    for score in [0.9, *[0.5] * 73]:
        schedule = schedule.after(score)
        assert schedule.improved  # each replaces the one before
        assert not schedule.exhausted
        assert schedule.learning_rate == 1e-3
    schedule = schedule.after(0.6)
    assert (schedule.best, schedule.best_epoch) == (0.6, 75)
    assert schedule.after(0.55).best_epoch == 75
    assert schedule.after(0.65).best_epoch == 76


@pytest.mark.parametrize(
    ("epochs", "steps", "min_steps", "patience", "first", "waits"),
    [
        (20, 2450, 500, 5, 1, 5),  # large cohorts are as without it
        (200, 14, 500, 10, 36, 36),
        (6, 30, 500, 5, 4, 5),
        (1, 3, 500, 5, 1, 5),
        (2, 3, 500, 5, 1, 5),
        (100, 6, 0, 10, 1, 10),
    ],
)
def test_the_floor_is_in_steps(epochs, steps, min_steps, patience, first, waits):
    schedule = schedule_for(1e-3, patience, epochs=epochs, steps=steps, min_steps=min_steps)
    assert (schedule.first, schedule.patience) == (first, waits)


def test_the_kept_epoch_is_said_and_chance_is_warned_of():
    assert kept_text(44, 54, 100) == "stopped early after epoch 54, kept epoch 44"
    assert kept_text(98, 100, 100) == "trained 100 epochs, kept epoch 98"
    assert "epoch 1 of 11 was kept" in early_epoch_warning(1, 11)
    assert early_epoch_warning(4, 11) == early_epoch_warning(3, 3) == ""
    assert "55 positive labels, fewer than 100" in few_positives_warning(55)
    assert few_positives_warning(100) == few_positives_warning(None) == ""
