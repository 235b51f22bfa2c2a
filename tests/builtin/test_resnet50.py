"""ResNet50 as a backbone: Keras' own network, its preprocessing, and what of it trains."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.modeling.assemble import build_trunk, freeze_below
from cxrbench.modeling.backend import load_keras


@pytest.fixture(scope="module")
def trunk():
    return build_trunk(ResNet50(), 64, None, 0)


def test_grey_images_become_a_map(trunk):
    assert trunk.input_shape == (None, 64, 64, 1)
    assert trunk.output_shape == (None, 2, 2, 2048)
    assert trunk.dtype == "float32"


def test_it_is_kerass_resnet50_on_its_own_preprocessing(trunk):
    keras = load_keras()
    original = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    original.set_weights(trunk.get_weights())
    grey = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype(np.float32)
    colour = keras.applications.resnet50.preprocess_input(grey.repeat(3, axis=-1))
    expected = np.asarray(original(colour, training=False))
    np.testing.assert_allclose(
        np.asarray(trunk(grey, training=False)), expected, rtol=1e-3, atol=1e-4 * expected.max()
    )


def test_weights_of_kerass_resnet50_without_its_top_fit(trunk, tmp_path):
    keras = load_keras()
    original = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    original.save_weights(tmp_path / "resnet50.weights.h5")
    loaded = build_trunk(ResNet50(), 64, str(tmp_path / "resnet50.weights.h5"), 0)
    for one, two in zip(loaded.get_weights(), original.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_all_of_the_last_stage_trains_and_nothing_else():
    trunk = build_trunk(ResNet50(), 32, None, 0)
    freeze_below(trunk, ResNet50.freeze_at)
    with_weights = [layer for layer in trunk.layers if layer.weights]
    last = {layer.name for layer in with_weights if layer.name.startswith("conv5")}
    # Three blocks of three convolutions, the shortcut's, and a normalisation for each.
    assert len(last) == 20
    assert {"conv5_block1_0_conv", "conv5_block1_0_bn"} <= last
    assert {layer.name for layer in with_weights if layer.trainable} == last
    assert {weight.path.split("/")[-2] for weight in trunk.trainable_weights} == last


def test_its_parts_are_all_kerass_own(trunk):
    for layer in trunk.layers:
        assert type(layer).__module__.startswith("keras."), layer
