"""EfficientNets as backbones: Keras' own networks, the same preprocessing for all weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from cxrbench_efficientnet import EfficientNetB0, EfficientNetV2B0

from cxrbench.testing import checks_for

GREY = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def drawn(make):
    """Keras' network with weights under which its output depends on its input."""
    keras.utils.set_random_seed(0)
    network = make(include_top=False, weights=None, input_shape=(32, 32, 3))
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta + rng.normal(0, 0.3, beta.shape), mean, variance / 4])
    return network


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as ImageNet's of EfficientNetB0: its normalisation holds means and deviations."""
    network = drawn(keras.applications.EfficientNetB0)
    (layer,) = (x for x in network.layers if isinstance(x, keras.layers.Normalization))
    layer.set_weights([MEAN, DEVIATION, np.array(0)])
    path = tmp_path_factory.mktemp("weights") / "efficientnetb0.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture(scope="module")
def of_keras(published):
    """What Keras itself makes of that file where it is the one of ``weights="imagenet"``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras.utils.get_file", lambda *_, **__: str(published))
        module = keras.applications.EfficientNetB0.__module__
        patch.setattr(f"{module}.file_utils.get_file", lambda *_, **__: str(published))
        network = keras.applications.EfficientNetB0(
            include_top=False, weights="imagenet", input_shape=(32, 32, 3)
        )
        ours = EfficientNetB0().build(32, "imagenet")
    return keras.ops.convert_to_numpy(network(GREY.repeat(3, axis=-1), training=False)), ours


@pytest.fixture(scope="module")
def loaded(published):
    return EfficientNetB0().build(32, str(published))


def close(found, expected):
    assert expected.std() > 0.01 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_b0_with_imagenets_weights_is_kerass(of_keras):
    expected, ours = of_keras
    assert ours.input_shape == (None, 32, 32, 1)
    assert ours.output_shape == (None, 1, 1, 1280)
    close(keras.ops.convert_to_numpy(ours(GREY, training=False)), expected)


def test_b0_sees_the_same_image_when_the_weights_come_from_a_file(of_keras, loaded):
    close(keras.ops.convert_to_numpy(loaded(GREY, training=False)), of_keras[0])


def test_b0_rebuilt_without_weights_and_given_them_sees_the_same_image(of_keras):
    """As a run's model is: the network comes from the recipe, the weights from the run."""
    rebuilt = EfficientNetB0().build(32, None)
    rebuilt.set_weights(of_keras[1].get_weights())
    close(keras.ops.convert_to_numpy(rebuilt(GREY, training=False)), of_keras[0])


def test_v2b0_is_kerass_network_which_has_its_preprocessing_in_it(tmp_path):
    original = drawn(keras.applications.EfficientNetV2B0)
    original.save_weights(tmp_path / "v2.weights.h5")
    model = EfficientNetV2B0().build(32, str(tmp_path / "v2.weights.h5"))
    assert model.input_shape == (None, 32, 32, 1)
    assert model.output_shape == (None, 1, 1, 1280)
    expected = keras.ops.convert_to_numpy(original(GREY.repeat(3, axis=-1), training=False))
    close(keras.ops.convert_to_numpy(model(GREY, training=False)), expected)
    assert model.get_layer(EfficientNetV2B0.freeze_at)
    assert_opens_with_keras_alone(model, tmp_path)


def test_b0_trains_from_the_stage_of_stride_32(loaded):
    names = [layer.name for layer in loaded.layers if layer.weights]
    trained = names[names.index(EfficientNetB0.freeze_at) :]
    assert {name.split("_")[0][:6] for name in trained} == {"block6", "block7", "top"}


def test_the_export_of_b0_opens_with_keras_alone(loaded, tmp_path):
    assert_opens_with_keras_alone(loaded, tmp_path)


def assert_opens_with_keras_alone(model, folder):
    model.save(folder / "model.keras")
    opened = keras.models.load_model(folder / "model.keras")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(opened(GREY)), keras.ops.convert_to_numpy(model(GREY))
    )
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in model.layers)


@pytest.mark.parametrize("check", checks_for("efficientnet", image_size=32), ids=str)
def test_conformance(check):
    check()
