"""A Keras network in OpenVINO, computed on the CPU in float32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import DeviceError
from cxrbench.modeling.backend import backend_name, load_keras
from cxrbench.modeling.predict import Batch, Predict, by_name

# OpenVINO takes bfloat16 by itself where the CPU has it: 0.08 off on random weights.
_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


class Unable(Exception):
    """Why OpenVINO cannot compute a network."""


def _last_line(text: str) -> str:
    """The last words of a failing program."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO reports every import to its makers unless this package is missing."""
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # how Python spells "cannot be imported"
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


def load_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Raises
    ------
    DeviceError : it is not installed, or does not work.
    """
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        raise DeviceError(
            "OpenVINO cannot be imported",
            expected="a working package openvino",
            found=str(error),
            fix="reinstall OpenVINO (pip install 'cxrbench[openvino]'), or use --engine keras",
        ) from error
    return openvino


def openvino_predictor(model: Any, example: Batch) -> Predict:
    """Return a function that predicts batches of the shape of ``example``.

    Raises
    ------
    Unable : OpenVINO cannot compute this network.
    DeviceError : OpenVINO cannot be imported.
    """
    openvino = load_openvino()
    names = tuple(by_name(example))
    shapes = {name: value.shape for name, value in by_name(example).items()}
    network = openvino.Core().compile_model(_convert(model, shapes), "CPU", _FLOAT32)
    request = network.create_infer_request()
    # OpenVINO may drop an input that nothing depends on.
    ports = {name for port in network.inputs for name in port.get_names()}

    def predict(batch: Batch) -> np.ndarray:
        values = by_name(batch)
        sizes = {name: value.shape for name, value in values.items()}
        if sizes != shapes:
            raise ValueError(f"expected inputs of the shapes {shapes}, got {sizes}")
        feed = {
            _port(number): np.ascontiguousarray(values[name], dtype=np.float32)
            for number, name in enumerate(names)
            if _port(number) in ports
        }
        # The result is in memory that the next request reuses.
        return np.array(request.infer(feed, share_inputs=True)[0], dtype=np.float32)

    return predict


def _port(number: int) -> str:
    """OpenVINO's name of an input; TensorFlow refuses some characters of a feature's name."""
    return f"input_{number}"


def _convert(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The network in OpenVINO, for these shapes only; its inputs are named as in `_port`.

    OpenVINO reads TensorFlow's graphs well, and TensorFlow is always installed. Other ways were
    tried with OpenVINO 2026.4: its reader of JAX' programs fails on every network
    (`jax.numpy.float32` is no NumPy type to it), and so does the detour of `keras.Model.export`
    over jax2tf (XlaCallModule); PyTorch's traces fail on `aten::divide` of a normalisation, and
    programs of `torch.export` take three times as long to convert.
    """
    if any(layer.compute_dtype != "float32" for layer in model._flatten_layers()):
        raise Unable("a network with layers that compute in another precision")
    if backend_name() == "tensorflow":
        return _from_tensorflow(model, shapes)
    # jax and torch: another process reads the model file on TensorFlow.
    return _by_tensorflow(model, shapes)


def _from_tensorflow(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    import tensorflow as tf

    names = tuple(shapes)

    def call(*tensors: Any) -> Any:
        alone = names == ("",)
        inputs = tensors[0] if alone else dict(zip(names, tensors, strict=True))
        return model(inputs, training=False)

    specs = [
        tf.TensorSpec(shape, tf.float32, name=_port(number))
        for number, shape in enumerate(shapes.values())
    ]
    try:
        graph = tf.function(call, autograph=False).get_concrete_function(*specs)
        return load_openvino().convert_model(graph)
    except Exception as error:  # each layer and operation fails in its own way
        raise Unable(_last_line(str(error))) from error


def _by_tensorflow(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    with tempfile.TemporaryDirectory(prefix="cxrbench-") as folder:
        source, target = Path(folder, "model.keras"), Path(folder, "model.xml")
        model.save(source)
        process = subprocess.run(
            [sys.executable, "-c", _CONVERT, source, target, json.dumps(shapes)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        if process.returncode:
            raise Unable(_last_line(process.stderr))
        # From bytes: otherwise the weights are mapped from their file, and the folder is removed.
        openvino = load_openvino()
        return openvino.Core().read_model(
            target.read_bytes(), target.with_suffix(".bin").read_bytes()
        )


_CONVERT = """
import json, sys
from cxrbench.modeling.openvino import convert_file
convert_file(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
"""


def convert_file(source: str, target: str, shapes: Mapping[str, list[int]]) -> None:
    """Convert a ``.keras`` file to OpenVINO's ``.xml`` and ``.bin``; runs in a separate process."""
    model = load_keras().models.load_model(source, compile=False, safe_mode=True)
    static = {name: tuple(shape) for name, shape in shapes.items()}
    load_openvino().save_model(_from_tensorflow(model, static), target, compress_to_fp16=False)
