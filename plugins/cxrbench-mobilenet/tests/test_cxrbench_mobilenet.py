"""MobileNet as a backbone: Keras' own network and preprocessing, at any width."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from cxrbench_mobilenet import MobileNet

from cxrbench import CxrbenchError
from cxrbench.testing import checks_for

GREY = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def original():
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNet((64, 64, 3), alpha=0.25, include_top=False, weights=None)
    # Statistics under which the map depends on the image, and is not all 0 or all 6.
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta + rng.normal(0, 0.3, beta.shape), mean, variance / 20])
    return network


@pytest.fixture(scope="module")
def loaded(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    original.save_weights(path)
    return MobileNet(alpha=0.25).build(64, str(path))


def test_it_is_kerass_network_on_its_own_preprocessing(original, loaded):
    colour = keras.applications.mobilenet.preprocess_input(GREY.repeat(3, axis=-1))
    expected = keras.ops.convert_to_numpy(original(colour, training=False))
    assert expected.std() > 0
    found = keras.ops.convert_to_numpy(loaded(GREY, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("alpha", "channels"), [(0.25, 256), (0.35, 358), (1.0, 1024)])
def test_the_width_is_a_parameter_and_every_width_trains_from_the_same_layer(alpha, channels):
    model = MobileNet(alpha=alpha).build(64, None)
    assert model.input_shape == (None, 64, 64, 1)
    assert model.output_shape == (None, 2, 2, channels)
    layer = model.get_layer(MobileNet.freeze_at)
    assert layer.output.shape[1:3] == (2, 2)  # the first of the stage of stride 32
    assert layer.input.shape[1:3] != (2, 2)


def test_an_export_opens_with_keras_alone(loaded, tmp_path):
    loaded.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(opened(GREY)), keras.ops.convert_to_numpy(loaded(GREY))
    )
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in loaded.layers)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_width_do_not_fit(original, tmp_path):
    original.save_weights(tmp_path / "quarter.weights.h5")
    with pytest.raises(ValueError, match="shape"):
        MobileNet(alpha=0.5).build(64, str(tmp_path / "quarter.weights.h5"))


def test_a_width_without_published_weights_is_told_before_anything_is_fetched():
    with pytest.raises(CxrbenchError, match=r"no ImageNet weights of mobilenet with alpha=0\.3"):
        MobileNet(alpha=0.3).build(64, "imagenet")


@pytest.mark.parametrize("alpha", [0.0, -1.0, 5.0])
def test_a_width_out_of_range_is_an_error_with_advice(alpha):
    with pytest.raises(CxrbenchError, match="alpha is out of range") as told:
        MobileNet(alpha=alpha)
    assert "mobilenet:alpha=0.25" in told.value.fix


@pytest.mark.parametrize("check", checks_for("mobilenet:alpha=0.25", image_size=32), ids=str)
def test_conformance(check):
    check()
