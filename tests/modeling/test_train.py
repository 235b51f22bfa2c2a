"""Training: the loss, the order, the best weights, the history, and what cannot be trained."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from small_cnn import SmallCNN, small_pictures

from cxrbench.builtin.concat import Concat
from cxrbench.errors import DataError, RunError
from cxrbench.metrics.auroc import validation_scores
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics, freeze_below
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.predict import keras_predictor, predict_logits, sigmoid
from cxrbench.modeling.train import (
    TrainSettings,
    cross_entropy,
    masked_cross_entropy,
    shuffled_batches,
    train,
)
from cxrbench.output.display import SilentDisplay

SETTINGS = TrainSettings(epochs=3, batch_size=16, learning_rate=1e-3, patience=5, seed=0)
TRAIN, VAL = np.arange(64), np.arange(64, 96)


@pytest.fixture(scope="module")
def pictures() -> Inputs:
    return small_pictures()


def trained(model, inputs, train_rows=TRAIN, val_rows=VAL, **changed):
    settings = replace(SETTINGS, **changed)
    return train(
        model,
        inputs,
        train_rows=train_rows,
        val_rows=val_rows,
        settings=settings,
        display=SilentDisplay(),
    )


def small_network(inputs: Inputs, *, seed: int = 0, frozen: bool = False):
    trunk = build_trunk(SmallCNN(), 32, None, seed)
    if frozen:
        freeze_below(trunk, SmallCNN.freeze_at)
    statistics = {name: feature_statistics(v, TRAIN) for name, v in inputs.features.items()}
    labels = inputs.labels.shape[1]
    return build_top(trunk, Concat(units=4), statistics, labels=labels, seed=seed)


def logits_of(model, inputs: Inputs) -> np.ndarray:
    return predict_logits(keras_predictor(model, inputs), inputs, VAL, 16)


def linear_model(features: int, labels: int):
    keras = load_keras()
    vector = keras.Input((features,), name="age")
    logits = keras.layers.Dense(labels, kernel_initializer="ones")(vector)
    return keras.Model({"age": vector}, logits)


@pytest.fixture(scope="module")
def noise() -> Inputs:
    """Two random features and labels: validation scores go up and down."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (96, 4)).astype(np.float32)
    return Inputs(None, {"age": rng.normal(size=(96, 2)).astype(np.float32)}, labels)


# The loss


def numbers(unknown: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 30, (7, 5)).astype(np.float32)
    logits[0] = 0, 1e-8, -80, 80, 300
    y_true = rng.integers(0, 2, (7, 5)).astype(np.float32)
    y_true[rng.random((7, 5)) < unknown] = np.nan
    return y_true, logits


def loss_of(y_true, logits) -> float:
    return float(load_keras().ops.convert_to_numpy(masked_cross_entropy(y_true, logits)))


def test_a_penalty_keeps_the_weights_of_the_head_small(pictures):
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    norms = []
    for l2 in (0.0, 1.0):
        network = build_top(trunk, Concat(units=4), {}, labels=3, seed=0, l2=l2)
        inputs = replace(pictures, features={})
        training = trained(network.whole(), inputs, epochs=4, learning_rate=1e-2)
        assert np.isfinite([epoch.loss for epoch in training.history]).all()
        norms.append(np.linalg.norm(network.top.get_layer("head").kernel))
    assert norms[1] < 0.7 * norms[0]


def test_without_unknown_labels_the_loss_is_kerass_own():
    y_true, logits = numbers(unknown=0)
    kerass = load_keras().losses.BinaryCrossentropy(from_logits=True)(y_true, logits)
    assert loss_of(y_true, logits) == pytest.approx(float(kerass), rel=1e-6)
    assert cross_entropy(y_true, logits) == pytest.approx(float(kerass), rel=1e-6)


def test_unknown_labels_do_not_count():
    y_true, logits = numbers(unknown=0.4)
    known = ~np.isnan(y_true)
    z, y = logits[known].astype(np.float64), y_true[known]
    each = -y * -np.logaddexp(0, -z) - (1 - y) * -np.logaddexp(0, z)
    assert loss_of(y_true, logits) == pytest.approx(each.mean(), rel=1e-6)
    assert cross_entropy(y_true, logits) == pytest.approx(each.mean(), rel=1e-12)


def test_a_batch_without_any_known_label_has_loss_0():
    _, logits = numbers(unknown=0)
    assert loss_of(np.full_like(logits, np.nan), logits) == 0


@pytest.mark.parametrize("unknown", [0, 0.4, 1])
def test_the_gradient_is_right_and_zero_where_unknown(unknown):
    keras = load_keras()
    y_true, logits = numbers(unknown)
    row = keras.Input((7,))
    dense = keras.layers.Dense(5, use_bias=False)
    model = keras.Model(row, dense(row))
    dense.set_weights([logits])
    # With one-hot rows the weights are the logits: a step of size 1 subtracts their gradient.
    model.compile(keras.optimizers.SGD(1.0), masked_cross_entropy)
    model.train_on_batch(np.eye(7, dtype=np.float32), y_true)
    gradient = logits - dense.get_weights()[0]
    known = ~np.isnan(y_true)
    expected = np.where(known, sigmoid(logits) - np.nan_to_num(y_true), 0) / max(known.sum(), 1)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)
    assert (gradient[~known] == 0).all()


# The order


def test_the_order_is_decided_by_seed_and_epoch_alone():
    rows = np.arange(100, 150)

    def order(seed, epoch):
        return [batch.tolist() for batch in shuffled_batches(rows, 16, seed, epoch)]

    np.random.seed(3)
    first = order(0, 0)
    np.random.seed(4)
    assert order(0, 0) == first
    assert [len(batch) for batch in first] == [16, 16, 16]
    seen = list(chain.from_iterable(first))
    assert len(set(seen)) == 48
    assert set(seen) <= set(rows.tolist())
    different = {str(order(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(different) == 9
    assert set(rows.tolist()) == {row for epoch in range(9) for b in order(0, epoch) for row in b}


# Training


def test_a_small_network_learns_what_can_be_learnt(pictures):
    model = small_network(pictures).whole()
    training = trained(model, pictures, epochs=6, learning_rate=3e-3)
    y_score = sigmoid(logits_of(model, pictures))
    scores = validation_scores(pictures.labels[VAL, :1], y_score[:, :1])
    assert scores.macro_auroc > 0.95
    assert training.history[-1].loss < training.history[0].loss


def test_the_history_tells_each_epoch(pictures):
    model = small_network(pictures).whole()
    training = trained(model, pictures, epochs=4, patience=2, learning_rate=1e-3)
    assert [epoch.epoch for epoch in training.history] == list(range(1, len(training.history) + 1))
    assert training.history[0].learning_rate == pytest.approx(1e-3)
    assert training.seconds == pytest.approx(sum(e.seconds for e in training.history))
    for epoch in training.history:
        assert epoch.images_per_second == pytest.approx(64 / epoch.seconds)
    best = training.history[training.best_epoch - 1]
    logits = logits_of(model, pictures)
    y_true = pictures.labels[VAL]
    scores = validation_scores(y_true, sigmoid(logits))
    assert best.val_loss == pytest.approx(cross_entropy(y_true, logits))
    assert (best.val_macro_auroc, best.val_auc) == (scores.macro_auroc, scores.micro_auroc)
    assert best.val_accuracy == scores.accuracy
    assert (best.val_precision, best.val_recall) == (scores.precision, scores.recall)


def test_the_best_epochs_weights_are_restored(noise):
    model = linear_model(2, 4)
    training = trained(model, noise, epochs=60, patience=4, learning_rate=0.2)
    scores = [epoch.val_macro_auroc for epoch in training.history]
    assert training.best_epoch == int(np.argmax(scores)) + 1
    assert training.best_epoch == len(scores) - 4  # so the last weights are not the best
    y_score = sigmoid(logits_of(model, noise))
    assert validation_scores(noise.labels[VAL], y_score).macro_auroc == max(scores)
    rates = [epoch.learning_rate for epoch in training.history]
    assert rates[-1] < rates[0]


def test_an_early_epoch_is_not_kept_and_the_end_is_said(noise, recorder):
    """With 4 steps an epoch, step 33 is in epoch 9."""
    common = {"epochs": 12, "patience": 2, "learning_rate": 0.2}
    free = trained(linear_model(2, 4), noise, **common)
    assert free.best_epoch < 9
    settings = replace(SETTINGS, **common, min_steps=33)
    held = train(
        linear_model(2, 4), noise, train_rows=TRAIN, val_rows=VAL, settings=settings,
        display=recorder,
    )  # fmt: skip
    scores = [epoch.val_macro_auroc for epoch in held.history]
    assert held.best_epoch == 9 + int(np.argmax(scores[8:]))
    trained_epochs, positives = len(held.history), int((noise.labels[VAL] == 1).sum())
    said = "\n".join(recorder.lines)
    assert f"kept epoch {held.best_epoch}" in said
    assert ("stopped early" in said) == (trained_epochs < 12)
    assert (f"{positives} positive labels" in said) == (positives < 100)


def test_the_loss_of_an_epoch_is_the_mean_over_its_batches(noise):
    model = linear_model(2, 4)
    training = trained(model, noise, epochs=2, learning_rate=1e-12)  # the weights stay
    logits = noise.features["age"].sum(axis=1, keepdims=True).repeat(4, axis=1)
    for epoch in (0, 1):
        losses = [
            cross_entropy(noise.labels[rows], logits[rows])
            for rows in shuffled_batches(TRAIN, 16, 0, epoch)
        ]
        assert np.ptp(losses) > 1e-3
        assert training.history[epoch].loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_fewer_images_than_a_batch_are_one_batch(pictures):
    model = small_network(pictures).whole()
    training = trained(model, pictures, train_rows=TRAIN[:5], batch_size=32, epochs=2)
    assert len(training.history) == 2
    assert np.isfinite(training.history[-1].loss)
    assert training.history[-1].images_per_second * training.history[-1].seconds == pytest.approx(5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(pictures):
    results = []
    for seed in (3, 3, 4):
        model = small_network(pictures, seed=seed).whole()
        training = trained(model, pictures, seed=seed, epochs=2)
        scores = [(e.loss, e.val_loss, e.val_macro_auroc) for e in training.history]
        results.append((model.get_weights(), scores, logits_of(model, pictures)))
    for one, two in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_array_equal(one, two)
    assert results[0][1] == results[1][1]
    np.testing.assert_array_equal(results[0][2], results[1][2])
    assert not np.array_equal(results[0][2], results[2][2])


def test_the_seed_decides_whatever_was_drawn_before(pictures):
    keras = load_keras()
    weights = []
    for noise_before in (1, 2):
        keras.utils.set_random_seed(noise_before)
        keras.random.normal((noise_before,))
        weights.append(small_network(pictures, seed=0).whole().get_weights())
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_frozen_part_stays_as_it_is(pictures):
    network = small_network(pictures, frozen=True)
    before = {weight.path: weight.numpy() for weight in network.trunk.weights}
    trained(network.whole(), pictures, epochs=2, learning_rate=1e-2)
    moved = {
        weight.path.split("/")[-2] + "/" + weight.path.split("/")[-1]
        for weight in network.trunk.weights
        if not np.array_equal(before[weight.path], weight.numpy())
    }
    # Moving statistics included: of the second block all move, of the first none.
    assert moved == {
        "block2_conv/kernel",
        "block2_conv/bias",
        "block2_bn/gamma",
        "block2_bn/beta",
        "block2_bn/moving_mean",
        "block2_bn/moving_variance",
    }


# What cannot be trained


def test_a_loss_that_is_no_number_is_an_error_with_advice(noise):
    with pytest.raises(RunError, match=r"epoch 1(?s:.*)smaller --learning-rate than 1e\+38"):
        trained(linear_model(2, 4), noise, learning_rate=1e38)
    broken = replace(noise, features={"age": np.full((96, 2), np.nan, np.float32)})
    with pytest.raises(RunError, match="--weights"):
        trained(linear_model(2, 4), broken)


def test_predictions_that_are_no_numbers_are_an_error_with_advice(noise):
    vectors = noise.features["age"].copy()
    vectors[VAL[3]] = np.inf
    broken = replace(noise, features={"age": vectors})
    with pytest.raises(RunError, match=r"loss 0(?s:.*)4 of 128 validation logits"):
        trained(linear_model(2, 4), broken)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [np.nan, np.nan], [1, np.nan]])
def test_validation_without_both_classes_is_an_error(noise, labels):
    y_true = noise.labels.copy()
    y_true[VAL] = np.resize(np.array(labels, np.float32), (len(VAL), 1))
    with pytest.raises(DataError, match=r"both classes(?s:.*)32 validation images(?s:.*)--frac"):
        trained(linear_model(2, 4), replace(noise, labels=y_true))


def test_one_label_with_both_classes_is_enough(noise):
    y_true = noise.labels.copy()
    y_true[VAL, 1:] = np.nan
    training = trained(linear_model(2, 4), replace(noise, labels=y_true), epochs=1)
    assert 0 <= training.history[0].val_macro_auroc <= 1


STEP = """
import hashlib
import numpy as np
from cxrbench.builtin.concat import Concat
from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.modeling.assemble import build_top, build_trunk, freeze_below
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.train import masked_cross_entropy

keras, rng = load_keras(), np.random.default_rng(0)
trunk = build_trunk(ResNet50(), 64, None, 0)
freeze_below(trunk, ResNet50.freeze_at)
model = build_top(trunk, Concat(), {}, labels=15, seed=0).whole()
model.compile(keras.optimizers.Adam(1e-3), masked_cross_entropy)
images = rng.uniform(0, 255, (32, 64, 64, 1)).astype(np.float32)
y_true = rng.integers(0, 2, (32, 15)).astype(np.float32)
for _ in range(2):
    model.train_on_batch({"image": images}, y_true)
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


@pytest.mark.slow
def test_processes_agree_to_the_last_bit_on_a_partly_frozen_resnet50():
    command = [sys.executable, "-c", STEP]
    digests = {subprocess.run(command, capture_output=True, check=True).stdout for _ in range(4)}
    assert len(digests) == 1
    assert len(digests.pop()) == 65
