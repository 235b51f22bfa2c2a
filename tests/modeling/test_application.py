"""A backbone of a few lines is Keras' own network on its own preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import cxrbench
from cxrbench.modeling.backend import load_keras

GREY = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)


@dataclass(frozen=True)
class Small(cxrbench.KerasApplication):
    name = "small"
    image_size = 32
    freeze_at = "conv_dw_12"
    application = "MobileNet"
    preprocessing = "tf"

    def network(self, image, weights, **options):
        return super().network(image, weights, alpha=0.25, input_shape=(32, 32, 3))


@pytest.mark.parametrize(
    ("mode", "layer"),
    [("caffe", "imagenet_mean"), ("torch", "imagenet_statistics"), ("tf", "to_unit_range")],
)
def test_preprocessing_is_kerass_of_the_same_name(mode, layer, monkeypatch):
    keras = load_keras()
    monkeypatch.setattr(Small, "preprocessing", mode)
    colour = keras.Input((8, 8, 3))
    model = keras.Model(colour, Small().preprocess(colour))
    assert model.layers[-1].name == layer
    images = GREY.repeat(3, axis=-1)
    expected = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    np.testing.assert_allclose(np.asarray(model(images)), expected, rtol=1e-4, atol=1e-4)


def test_a_network_with_its_own_preprocessing_is_left_alone(monkeypatch):
    monkeypatch.setattr(Small, "preprocessing", None)
    assert Small().preprocess(GREY) is GREY


def test_weights_of_kerass_network_without_its_top_fit(tmp_path):
    keras = load_keras()
    original = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    original.save_weights(tmp_path / "own.weights.h5")
    model = Small().build(32, str(tmp_path / "own.weights.h5"))
    assert (model.name, model.input_shape) == ("small", (None, 32, 32, 1))
    assert model.output_shape == (None, 1, 1, 256)
    assert model.get_layer(Small.freeze_at)
    for one, two in zip(model.get_weights(), original.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
