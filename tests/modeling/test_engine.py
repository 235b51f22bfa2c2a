"""Engines: each says what Keras says, in float32, or is refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import environment
from engine_networks import batch, small_model
from small_cnn import SmallCNN

from cxrbench.errors import DeviceError, SettingsError
from cxrbench.modeling import engines
from cxrbench.modeling.assemble import build_trunk
from cxrbench.modeling.engines import predictor
from cxrbench.modeling.openvino import Unable, openvino_predictor

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


@needs_openvino
def test_openvino_predicts_what_keras_predicts():
    model, images = small_model(), batch()
    found = predictor(model, "openvino", images)
    wanted = predictor(model, "keras", images)(images)
    assert wanted.shape == (6, 3)
    np.testing.assert_allclose(found(images), wanted, atol=1e-6)
    other = {name: value[::-1] for name, value in reversed(batch().items())}
    np.testing.assert_allclose(found(other), wanted[::-1], atol=1e-6)
    first = found(images)
    found(other)
    np.testing.assert_allclose(first, wanted, atol=1e-6)  # a later batch leaves it as it was
    with pytest.raises(ValueError, match="expected inputs of the shapes"):
        found(batch(2))


@needs_openvino
def test_a_model_with_one_input_is_called_with_an_array():
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    images = batch()["image"]
    found = predictor(trunk, "openvino", images)(images)
    wanted = np.asarray(trunk(images, training=False))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("wanted", "found", "agrees"),
    [
        ([0.5, 0.9], [0.50008, 0.9], True),
        ([0.5, 0.9], [0.5001, 0.9], False),
        ([40.0, -2.0], [40.003, -2.0], True),
        ([40.0, -2.0], [40.0, -2.005], False),
        ([0.0, 0.0], [0.0, 1e-8], True),
        ([0.0, np.nan], [0.0, np.nan], True),
        ([0.0, 1.0], [0.0, np.nan], False),
        ([0.0, 1.0], [0.0], False),
    ],
)
def test_how_close_is_close_enough(wanted, found, agrees):
    difference = engines._disagreement(np.float32(wanted), np.float32(found))
    assert (difference is None) is agrees


@needs_openvino
def test_an_engine_that_does_not_agree_is_refused(monkeypatch):
    def tampered(model, example):
        changed = small_model()
        values = [value.copy() for value in model.get_weights()]
        values[-1] += 0.01
        changed.set_weights(values)
        return predictor(changed, "keras", example)

    monkeypatch.setattr(engines, "openvino_predictor", tampered)
    with pytest.raises(DeviceError, match=r"do not agree(?s:.*)--engine keras"):
        predictor(small_model(), "openvino", batch())


@needs_openvino
def test_an_engine_that_cannot_compute_the_network_says_why(monkeypatch):
    def fails(model, example):
        raise Unable("no rule for the operation Strange")

    monkeypatch.setattr(engines, "openvino_predictor", fails)
    with pytest.raises(
        DeviceError, match=r"cannot compute this(?s:.*)Strange(?s:.*)--engine keras"
    ):
        predictor(small_model(), "openvino", batch())


@pytest.mark.parametrize("name", ["auto", "keras-jax"])
def test_an_unknown_engine(name):
    with pytest.raises(SettingsError, match=f"no engine {name!r}(?s:.*)keras or openvino"):
        predictor(small_model(), name, batch())


def test_openvino_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceError, match=r"pip install 'cxrbench\[openvino\]'"):
        predictor(small_model(), "openvino", batch())


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_openvino_agrees_with_the_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = (
        "import numpy as np; from test_engine import *; model, images = small_model(), batch();"
        "found = predictor(model, 'openvino', images)(images);"
        "np.testing.assert_allclose(found, predictor(model, 'keras', images)(images), atol=1e-6);"
        "import keras; print(keras.backend.backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(Path(__file__).parent), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{backend}\n"


# OpenVINO


@needs_openvino
def test_an_input_that_nothing_depends_on():
    import keras

    image, idle = keras.Input((4, 4, 1), name="image"), keras.Input((2,), name="idle")
    model = keras.Model({"image": image, "idle": idle}, keras.layers.Flatten()(image))
    given = {"idle": np.ones((3, 2), np.float32), "image": np.ones((3, 4, 4, 1), np.float32)}
    assert predictor(model, "openvino", given)(given).tolist() == np.ones((3, 16)).tolist()


@needs_openvino
def test_openvino_is_compiled_for_float32(monkeypatch):
    """A CPU with bfloat16 would use it otherwise; this one may have none: the hint tells."""
    import openvino

    compiled = []

    class Core(openvino.Core):
        def compile_model(self, *arguments):
            compiled.append(super().compile_model(*arguments))
            return compiled[-1]

    monkeypatch.setattr(openvino, "Core", Core)
    predictor(small_model(), "openvino", batch())
    assert compiled[0].get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


@needs_openvino
def test_importing_openvino_reports_nothing():
    code = (
        "import sys; from cxrbench.modeling.openvino import load_openvino; load_openvino();"
        "print(sum(name.split('.')[0] == 'openvino_telemetry' for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


@needs_openvino
def test_a_network_in_another_precision_is_refused():
    import keras

    image = keras.Input((8,))
    model = keras.Model(image, keras.layers.Dense(2, dtype="mixed_bfloat16")(image))
    with pytest.raises(Unable, match="another precision"):
        openvino_predictor(model, np.zeros((1, 8), np.float32))
