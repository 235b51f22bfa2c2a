"""DenseNet121 as a backbone: Keras' own network, preprocessing and weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from cxrbench_densenet import DenseNet121

from cxrbench.testing import checks_for

GREY = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def original():
    keras.utils.set_random_seed(0)
    return keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def loaded(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "densenet121.weights.h5"
    original.save_weights(path)
    return DenseNet121().build(32, str(path))


def test_it_is_kerass_network_on_its_own_preprocessing(original, loaded):
    assert loaded.input_shape == (None, 32, 32, 1)
    assert loaded.output_shape == (None, 1, 1, 1024)
    colour = keras.applications.densenet.preprocess_input(GREY.repeat(3, axis=-1))
    expected = keras.ops.convert_to_numpy(original(colour, training=False))
    assert expected.std() > 0
    found = keras.ops.convert_to_numpy(loaded(GREY, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_it_trains_from_its_last_dense_block(loaded):
    names = [layer.name for layer in loaded.layers if layer.weights]
    trained = names[names.index(DenseNet121.freeze_at) :]
    assert {name for name in names if name.startswith("conv5")} | {"bn"} == set(trained)


def test_an_export_opens_with_keras_alone(loaded, tmp_path):
    loaded.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(opened(GREY)), keras.ops.convert_to_numpy(loaded(GREY))
    )
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in loaded.layers)


@pytest.mark.parametrize("check", checks_for("densenet", image_size=32), ids=str)
def test_conformance(check):
    check()
