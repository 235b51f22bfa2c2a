"""A recipe's network: what it is made of, what trains, and that its two halves are the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from small_cnn import SmallCNN, small_pictures

from cxrbench import Fusion
from cxrbench.builtin.concat import Concat
from cxrbench.errors import CxrbenchError, PluginError, SettingsError, WeightsError
from cxrbench.modeling.assemble import (
    build_top,
    build_trunk,
    feature_statistics,
    freeze_below,
    image_statistics,
    split_trunk,
)
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.predict import keras_predictor, predict_logits, sigmoid

ROWS = np.arange(96)


@pytest.fixture(scope="module")
def pictures() -> Inputs:
    return small_pictures()


@dataclass(frozen=True)
class LargestOfMap(Fusion):
    """A fusion that looks at the map."""

    name: ClassVar[str] = "largest"
    image_input: ClassVar = "feature_map"

    def fuse(self, image, features):
        keras = load_keras()
        return keras.layers.GlobalMaxPooling2D()(image)


def network_for(inputs: Inputs, fusion=None, *, backbone=True, seed=0):
    trunk = build_trunk(SmallCNN(), 32, None, seed) if backbone else None
    statistics = {n: feature_statistics(v, ROWS[:64]) for n, v in inputs.features.items()}
    return build_top(trunk, fusion or Concat(units=4), statistics, labels=3, seed=seed)


def logits_of(model, inputs: Inputs) -> np.ndarray:
    return predict_logits(keras_predictor(model, inputs), inputs, ROWS, 32)


def on_embeddings(network, inputs: Inputs) -> Inputs:
    images = inputs.image[..., None].astype(np.float32)
    return replace(inputs, image=network.embedder().predict(images, verbose=0))


@pytest.mark.parametrize("fusion", [Concat(units=4), LargestOfMap()])
def test_the_top_on_what_crosses_the_cut_is_the_whole_network(pictures, fusion):
    if fusion.name == "largest":
        pictures = replace(pictures, features={})
    network = network_for(pictures, fusion)
    crossing = on_embeddings(network, pictures)
    assert crossing.image.shape == ((96, 16) if network.pools else (96, 8, 8, 16))
    whole = logits_of(network.whole(), pictures)
    top = logits_of(network.top, crossing)
    assert np.ptp(whole, axis=0).min() > 1e-3
    np.testing.assert_allclose(top, whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5)])
def test_channels_are_standardised_on_the_training_rows(shape, monkeypatch):
    monkeypatch.setattr("cxrbench.modeling.assemble._ROWS_AT_ONCE", 7)
    outputs = np.random.default_rng(0).normal(3, 2, (40, *shape)).astype(np.float32)
    outputs[..., 4] = 1.5
    rows = np.arange(0, 40, 2)
    statistics = image_statistics(outputs, rows)
    places = outputs[rows].reshape(-1, 5).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, places.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(statistics.variance[:4], places[:, :4].var(axis=0), rtol=1e-5)
    assert statistics.variance[4] == 1  # a constant channel is left as it is


@pytest.mark.parametrize("fusion", [Concat(units=4), LargestOfMap()])
def test_the_image_is_standardised_before_the_fusion(pictures, fusion):
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    pictures = replace(pictures, features={})
    plain = build_top(trunk, fusion, {}, labels=3, seed=0)
    outputs = on_embeddings(plain, pictures).image
    moments = image_statistics(outputs, ROWS[:64])
    network = build_top(trunk, fusion, {"image": moments}, labels=3, seed=0)
    assert [tensor.name for tensor in network.top.inputs] == ["image"]
    standardised = replace(pictures, image=moments.standardise(outputs))
    expected = logits_of(plain.top, standardised)
    np.testing.assert_allclose(logits_of(network.whole(), pictures), expected, atol=1e-5)


@pytest.mark.parametrize("fusion", [Concat(units=4), LargestOfMap()])
def test_the_penalty_is_of_the_weights_of_the_top_alone(fusion):
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    network = build_top(trunk, fusion, {}, labels=3, seed=0, l2=0.25)
    squares = sum(np.sum(w**2) for w in network.top.get_weights() if w.ndim > 1)
    for model in (network.top, network.whole()):
        assert float(sum(model.losses)) == pytest.approx(0.25 * squares, rel=1e-5)
    assert build_top(trunk, fusion, {}, labels=3, seed=0).top.losses == []
    assert build_top(trunk, Concat(), {}, labels=3, seed=0, head="linear", l2=1).top.losses == []


def test_what_the_top_learns_the_whole_network_knows(pictures):
    network = network_for(pictures)
    before = logits_of(network.whole(), pictures)
    network.top.set_weights([weight + 0.1 for weight in network.top.get_weights()])
    after = logits_of(network.whole(), pictures)
    assert np.abs(after - before).max() > 0.1
    crossing = on_embeddings(network, pictures)
    np.testing.assert_allclose(logits_of(network.top, crossing), after, rtol=1e-4, atol=1e-4)


def test_without_a_backbone_there_is_no_trunk_and_no_image(pictures):
    network = network_for(pictures, backbone=False)
    assert network.trunk is None
    assert network.embedder() is None
    assert set(network.whole().input) == {"age"}
    alone = replace(pictures, image=None)
    assert logits_of(network.whole(), alone).shape == (96, 3)


def test_the_head_is_dense_dropout_dense(pictures):
    top = network_for(pictures).top
    layers = [type(layer).__name__ for layer in top.layers if type(layer).__name__ != "InputLayer"]
    assert layers[-3:] == ["Dense", "Dropout", "Dense"]
    assert top.get_layer("head").units == 1024
    assert top.get_layer("head").activation.__name__ == "relu"
    assert top.get_layer("head_dropout").rate == 0.5
    assert top.get_layer("logits").activation.__name__ == "linear"


# Statistics of feature vectors


def test_statistics_see_training_rows_only():
    rng = np.random.default_rng(0)
    vectors = rng.normal(3, 2, (50, 4)).astype(np.float32)
    train_rows = np.arange(0, 50, 2)
    canary = vectors.copy()
    canary[1::2] = 1e9
    for table in (vectors, canary):
        known = feature_statistics(table, train_rows)
        np.testing.assert_allclose(known.mean, vectors[::2].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(known.variance, vectors[::2].var(axis=0), rtol=1e-5)
        assert known.mean.dtype == known.variance.dtype == np.float32


def test_the_fusion_gets_standardised_vectors(pictures):
    network = network_for(pictures, backbone=False)
    standardise = network.top.get_layer("age_standardised")
    vectors = pictures.features["age"]
    expected = (vectors - vectors[:64].mean(axis=0)) / vectors[:64].std(axis=0)
    np.testing.assert_allclose(np.asarray(standardise(vectors)), expected, atol=1e-4)


def test_a_constant_feature_does_not_explode():
    vectors = np.full((20, 3), 0.1, np.float32)
    vectors[:, 1] += np.arange(20) * 1e-9  # below float32's resolution, or a deviation of nothing
    vectors[19] = 7  # an image outside training that differs
    known = feature_statistics(vectors, np.arange(19))
    assert known.variance.tolist() == [1, 1, 1]
    network = build_top(None, Concat(units=4), {"odd": known}, labels=2, seed=0)
    standardised = network.top.get_layer("odd_standardised")(vectors)
    assert np.abs(np.asarray(standardised)).max() == pytest.approx(6.9, abs=1e-3)
    logits = predict_logits(network.whole(), Inputs(None, {"odd": vectors}, vectors), ROWS[:20], 8)
    assert np.isfinite(logits).all()


# What trains


def test_without_freezing_all_of_the_trunk_trains():
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    assert len(trunk.trainable_weights) == 8


def test_freezing_leaves_what_comes_from_the_layer_on():
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    freeze_below(trunk, "block2_conv")
    assert {weight.path.split("/")[-2] for weight in trunk.trainable_weights} == {
        "block2_conv",
        "block2_bn",
    }


def test_a_layer_that_is_not_there_is_the_plugins_fault():
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    with pytest.raises(PluginError, match=r"'conv9'(?s:.*)block2_relu"):
        freeze_below(trunk, "conv9")


# Weights


def test_the_seed_decides_on_random_weights():
    one, same, other = (build_trunk(SmallCNN(), 32, None, s).get_weights() for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_weights_of_a_file_are_taken_whatever_the_seed(tmp_path):
    path = tmp_path / "own.weights.h5"
    first = build_trunk(SmallCNN(), 32, None, 1)
    first.save_weights(path)
    second = build_trunk(SmallCNN(), 32, str(path), 2)
    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("kind", ["other network", "a part of it", "no HDF5 at all", "empty"])
def test_a_file_that_does_not_fit_is_an_error_with_three_parts(kind, tmp_path):
    path = tmp_path / "wrong.weights.h5"
    if kind == "other network":
        keras = load_keras()
        other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        other.save_weights(path)
    elif kind == "a part of it":
        trunk = build_trunk(SmallCNN(), 32, None, 0)
        load_keras().Model(trunk.input, trunk.get_layer("block1_relu").output).save_weights(path)
    else:
        path.write_bytes(b"" if kind == "empty" else b"not HDF5 " * 100)
    with pytest.raises(WeightsError) as raised:
        build_trunk(SmallCNN(), 32, str(path), 0)
    lines = str(raised.value).splitlines()
    assert lines[0] == "the weights file does not fit smallcnn"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["expected", "got", "to do"]
    assert str(path) in lines[2]
    assert "--weights smallcnn=FILE" in lines[3]


def test_imagenet_weights_that_cannot_be_had_are_an_error_with_advice():
    class Offline(SmallCNN):
        def build(self, image_size, weights):
            if weights is not None:
                raise Exception("URL fetch failure on https://example.org: no route")
            return super().build(image_size, None)

    with pytest.raises(WeightsError, match=r"URL fetch failure(?s:.*)--weights none"):
        build_trunk(Offline(), 32, "imagenet", 0)


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_a_backbone_that_cannot_be_built_is_no_fault_of_the_weights(weights):
    class Large(SmallCNN):
        def build(self, image_size, weights):
            if image_size < self.image_size:
                raise ValueError("Negative dimension size caused by the last pooling")
            return super().build(image_size, weights)

    with pytest.raises(SettingsError, match=r"(?s)images of 8 pixels.*Negative.*--image-size"):
        build_trunk(Large(), 8, weights, 0)


def test_what_building_prints_stays_off_standard_output(capsys):
    class Chatty(SmallCNN):
        def build(self, image_size, weights):
            print("Downloading data")
            return super().build(image_size, weights)

    build_trunk(Chatty(), 32, None, 0)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "Downloading data\n")


def test_an_image_size_that_does_not_suit_the_backbone_is_an_error_with_advice():
    class AtLeast64(SmallCNN):
        image_size = 64

        def build(self, image_size, weights):
            if image_size < 64:
                raise ValueError("Input size must be at least 64x64")
            return super().build(image_size, weights)

    for weights in (None, "imagenet"):
        with pytest.raises(SettingsError, match=r"32 pixels(?s:.*)64x64(?s:.*)--image-size"):
            build_trunk(AtLeast64(), 32, weights, 0)


def test_a_backbone_that_cannot_be_built_at_its_own_size_is_the_plugins_fault():
    class Wrong(SmallCNN):
        def build(self, image_size, weights):
            raise TypeError("a KerasTensor is no tensor")

    with pytest.raises(PluginError, match=r"(?s)'smallcnn' cannot be built.*TypeError: a Keras"):
        build_trunk(Wrong(), 32, None, 0)


def test_a_build_that_returns_nothing_is_the_plugins_fault():
    class Forgetful(SmallCNN):
        def build(self, image_size, weights):
            super().build(image_size, weights)

    with pytest.raises(PluginError, match=r"got: build returned None"):
        build_trunk(Forgetful(), 32, None, 0)


def test_a_backbone_without_a_map_is_the_plugins_fault():
    class Flat(SmallCNN):
        def build(self, image_size, weights):
            keras = load_keras()
            model = super().build(image_size, weights)
            return keras.Model(model.input, keras.layers.Flatten()(model.output))

    with pytest.raises(PluginError, match=r"'smallcnn' does not return a feature map(?s:.*)1024"):
        build_trunk(Flat(), 32, None, 0)


# Export


def test_a_saved_model_opens_without_cxrbench_and_predicts_the_same(pictures, tmp_path):
    keras = load_keras()
    network = network_for(pictures)
    model = network.whole(probabilities=True)
    model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    inputs = {"image": pictures.image[..., None].astype(np.float32), **pictures.features}
    y_score = np.asarray(opened.predict(inputs, verbose=0))
    logits = logits_of(network.whole(), pictures)
    np.testing.assert_allclose(y_score, sigmoid(logits), atol=1e-6)
    assert np.ptp(y_score, axis=0).min() > 1e-4


def test_a_weights_file_in_a_network_built_anew_gives_the_same_predictions(pictures, tmp_path):
    model = network_for(pictures, seed=1).whole(probabilities=True)
    model.save_weights(tmp_path / "model.weights.h5")
    rebuilt = network_for(pictures, seed=2).whole(probabilities=True)
    expected = logits_of(model, pictures)
    assert not np.allclose(logits_of(rebuilt, pictures), expected, atol=1e-4)
    rebuilt.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(logits_of(rebuilt, pictures), expected)


# The cut at the first layer that trains


def test_what_a_backbone_itself_refuses_is_told_as_it_tells_it():
    @dataclass(frozen=True)
    class Picky(SmallCNN):
        def build(self, image_size, weights):
            raise CxrbenchError("picky: no", expected="another width", fix="write picky:width=1")

    with pytest.raises(CxrbenchError, match=r"^picky: no") as told:
        build_trunk(Picky(), 32, "imagenet", 0)
    assert told.value.fix == "write picky:width=1"


def test_the_two_halves_of_a_trunk_are_the_trunk(pictures):
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    below, above = split_trunk(trunk, SmallCNN.freeze_at)
    images = pictures.image[..., None].astype(np.float32)
    kept = below.predict(images, verbose=0)
    np.testing.assert_allclose(
        above.predict(kept, verbose=0), trunk.predict(images, verbose=0), atol=1e-6
    )
    assert {id(v) for v in (*below.variables, *above.variables)} == {id(v) for v in trunk.variables}
    assert not {id(v) for v in below.variables} & {id(v) for v in above.variables}


def test_training_the_upper_half_trains_the_trunk(pictures):
    network = network_for(pictures)
    freeze_below(network.trunk, SmallCNN.freeze_at)
    below, above = split_trunk(network.trunk, SmallCNN.freeze_at)
    upper = replace(network, trunk=above).whole()
    images = pictures.image[..., None].astype(np.float32)
    kept = replace(pictures, image=below.predict(images, verbose=0))
    np.testing.assert_allclose(
        logits_of(upper, kept), logits_of(network.whole(), pictures), atol=1e-5
    )
    upper.compile("sgd", "mse")
    before = logits_of(network.whole(), pictures)
    upper.train_on_batch(kept.gather(ROWS[:16]), np.nan_to_num(pictures.labels[:16]))
    after = logits_of(network.whole(), pictures)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(logits_of(upper, kept), after, atol=1e-5)


def test_resnet50_is_cut_between_its_stages():
    from cxrbench.builtin.resnet50 import ResNet50

    trunk = build_trunk(ResNet50(), 64, None, 0)
    below, above = split_trunk(trunk, ResNet50.freeze_at)
    assert below.output_shape == (None, 4, 4, 1024)
    assert above.output_shape == trunk.output_shape


def test_a_trunk_is_cut_behind_an_addition_that_is_no_layer():
    keras = load_keras()
    grey = keras.Input((8, 8, 1))
    one = keras.layers.Conv2D(2, 3, padding="same", name="one")(grey)
    sum_ = one + keras.layers.Conv2D(2, 3, padding="same", name="two")(one)
    trunk = keras.Model(grey, keras.layers.Conv2D(3, 3, name="three")(sum_))
    below, above = split_trunk(trunk, "three")
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(above(below(images))), np.asarray(trunk(images)), atol=1e-6
    )


def test_a_trunk_with_two_ways_up_is_not_cut():
    keras = load_keras()
    grey = keras.Input((8, 8, 1))
    one = keras.layers.Conv2D(2, 3, padding="same", name="one")(grey)
    two = keras.layers.Conv2D(2, 3, padding="same", name="two")(grey)
    top = keras.layers.Add(name="top")([one, two])
    assert split_trunk(keras.Model(grey, top), "top") is None


def test_a_trunk_that_trains_from_its_first_layer_is_not_cut():
    keras = load_keras()
    grey = keras.Input((8, 8, 1))
    trunk = keras.Model(grey, keras.layers.Conv2D(2, 3, name="one")(grey))
    assert split_trunk(trunk, "one") is None
