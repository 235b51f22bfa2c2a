"""What computes predictions on a CPU: Keras, or OpenVINO where that is faster and agrees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from cxrbench.data.cache import key_of
from cxrbench.data.choices import kept_choice
from cxrbench.errors import DeviceError, SettingsError
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import hardware, jit_compile, load_keras

ENGINES = ("keras", "openvino")

Batch = Mapping[str, np.ndarray] | np.ndarray
"""What a model is called with: arrays by the names of its inputs, or the only input."""

Predict = Callable[[Batch], np.ndarray]
"""From a batch to the model's output, float32."""

CHOICE_VERSION = 1
"""Part of every key of a choice; raised when engines are measured otherwise."""

TOLERANCE = 1e-4
"""The largest difference between engines, as a share of the largest magnitude of the output.

No probability is above 1, so probabilities differ by less than this.
"""
WORTH_CONVERTING = 5000
"""Images from which on it is worth to look for a faster engine.

To convert ResNet50 and to measure takes some 15 s on two cores, and OpenVINO saves 5 ms an image.
"""

# Below this a magnitude is rounding: outputs that are all (nearly) zero agree.
_SMALLEST_MAGNITUDE = 1e-3

# Another engine brings other last digits: it has to be worth that.
_WORTH = 1.05
_SECONDS = 4.0
_ROUNDS = (3, 15)

# OpenVINO takes bfloat16 by itself where the CPU has it: 0.08 off on random weights.
_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


class _NotConverted(Exception):
    """Why a network cannot be had in OpenVINO."""


def predictor(model: Any, engine: str, example: Batch) -> Predict:
    """What predicts batches of the shape of ``example`` with this engine.

    OpenVINO's prediction of ``example`` is compared with that of Keras before it is used for
    anything: see `TOLERANCE`.

    Raises
    ------
    DeviceError : OpenVINO is missing, cannot have this network, or does not agree with Keras.
    SettingsError : there is no such engine.
    """
    _known(engine, ENGINES)
    on_keras = _keras(model)
    if engine == "keras":
        return on_keras
    _require_openvino()
    try:
        on_openvino = _openvino(model, example)
    except _NotConverted as error:
        raise DeviceError(
            "OpenVINO cannot compute this network",
            expected="a float32 network of Keras' own layers",
            found=str(error),
            fix="use --engine keras",
        ) from error
    difference = _disagreement(on_keras(example), on_openvino(example))
    if difference is not None:
        raise DeviceError(
            "OpenVINO and Keras do not agree on this network",
            expected=f"outputs that differ by at most {TOLERANCE:g} of the largest one",
            found=difference,
            fix="use --engine keras",
        )
    return on_openvino


def choose_engine(
    wanted: str,
    make_network: Callable[[], tuple[Any, Batch]],
    *,
    device: str,
    precision: str,
    images: int,
    cache: Path,
    display: Display,
) -> str:
    """``keras`` or ``openvino``; ``auto`` is the faster on a CPU in float32, as measured once.

    ``make_network`` gives the model and a batch for it, and is only asked where there is a choice.
    For fewer ``images`` than `WORTH_CONVERTING`, ``auto`` is Keras. The choice is kept in
    ``engines/`` of the cache, so that this machine takes the same engine for the same network from
    then on, whatever its weights are.

    Raises
    ------
    DeviceError : ``openvino`` was asked for and is not installed, or not for this device or
        precision.
    SettingsError : there is no such engine.
    CacheError : the choice cannot be kept.
    """
    _known(wanted, ("auto", *ENGINES))
    if wanted == "openvino":
        _require_openvino()
        if device != "cpu":
            raise _only("a CPU", f"--device {device}", "use --engine keras, or --device cpu")
        if precision != "float32":
            found = f"--precision {precision}"
            raise _only("float32", found, "use --engine keras, or --precision float32")
    if wanted != "auto":
        return wanted
    possible = device == "cpu" and precision == "float32" and _openvino_is_installed()
    if not possible or images < WORTH_CONVERTING:
        return "keras"

    model, example = make_network()

    def faster() -> str:
        speeds = _measure(model, example)
        display.say(f"  {speeds.told()}")
        return speeds.engine

    about = _conditions(model, example)
    return kept_choice("engines", about, faster, cache=cache, display=display)


def _known(engine: str, known: tuple[str, ...]) -> None:
    if engine not in known:
        raise SettingsError(
            f"there is no engine {engine!r}", expected=" or ".join(known), found=repr(engine)
        )


def _openvino_is_installed() -> bool:
    return find_spec("openvino") is not None


def _require_openvino() -> None:
    if not _openvino_is_installed():
        raise DeviceError(
            "--engine openvino was asked for and OpenVINO is not installed",
            expected="the package openvino",
            found="none",
            fix="pip install 'cxrbench[openvino]', or use --engine auto",
        )


def _only(expected: str, found: str, fix: str) -> DeviceError:
    return DeviceError(
        f"--engine openvino is for {expected}", expected=expected, found=found, fix=fix
    )


# Choosing


@dataclass(frozen=True)
class _Speeds:
    """Images per second; a reason in place of OpenVINO's where it cannot be used."""

    keras: float
    openvino: float | None
    reason: str = ""

    @property
    def engine(self) -> str:
        faster = self.openvino is not None and self.openvino > _WORTH * self.keras
        return "openvino" if faster else "keras"

    def told(self) -> str:
        if self.openvino is None:
            return f"engine keras: {self.reason}"
        return (
            f"engine {self.engine}: OpenVINO {self.openvino:.1f} images/s, Keras {self.keras:.1f}"
        )


def _measure(model: Any, example: Batch) -> _Speeds:
    on_keras = predictor(model, "keras", example)
    on_keras(example)
    try:
        on_openvino = predictor(model, "openvino", example)
    except DeviceError as error:
        return _Speeds(_rate([on_keras], example)[0], None, " ".join(str(error).split()))
    keras_rate, openvino_rate = _rate([on_keras, on_openvino], example)
    return _Speeds(keras_rate, openvino_rate)


def _rate(predictors: list[Predict], example: Batch) -> list[float]:
    """Images per second of each by the median of rounds, in turns: others use the CPU too."""
    count = len(next(iter(_by_name(example).values())))
    took: list[list[float]] = [[] for _ in predictors]
    until = time.perf_counter() + _SECONDS
    fewest, most = _ROUNDS
    while len(took[0]) < fewest or (len(took[0]) < most and time.perf_counter() < until):
        for predict, seconds in zip(predictors, took, strict=True):
            start = time.perf_counter()
            predict(example)
            seconds.append(time.perf_counter() - start)
    return [count / median(seconds) for seconds in took]


def _conditions(model: Any, example: Batch) -> dict[str, Any]:
    """What decides which engine is the faster one."""
    keras, machine = load_keras(), hardware("cpu")
    backend = keras.backend.backend()
    return {
        "version": CHOICE_VERSION,
        "layers": key_of({"": _outline(json.loads(model.to_json()))}),
        "inputs": {name: list(value.shape) for name, value in sorted(_by_name(example).items())},
        "backend": backend,
        "versions": {
            "keras": keras.__version__,
            backend: import_module(backend).__version__,
            "openvino": _load_openvino().__version__,
        },
        "cpu": machine["device"],
        "cpus": machine["cpus"],
    }


# Keras counts up names, and the statistics of a normalisation are as good as weights.
_NOT_SPEED = (
    *("name", "mean", "variance", "trainable", "seed", "build_config"),
    *("inbound_nodes", "input_layers", "output_layers"),
)


def _outline(config: Any) -> Any:
    """The layers of a configuration and those of their settings that cost time."""
    if isinstance(config, dict):
        return {key: _outline(part) for key, part in config.items() if key not in _NOT_SPEED}
    if isinstance(config, list):
        return [_outline(part) for part in config]
    return config


# Keras


def _keras(model: Any) -> Predict:
    wanted = jit_compile()
    # As an attribute "auto" counts as true, and all is compiled; a model left alone means it.
    if wanted != "auto":
        model.jit_compile = wanted

    def predict(batch: Batch) -> np.ndarray:
        return np.asarray(model.predict_on_batch(batch), dtype=np.float32)

    return predict


# OpenVINO


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """While OpenVINO is imported: it reports every import to its makers unless this is missing."""
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


def _load_openvino() -> Any:
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        raise DeviceError(
            "OpenVINO cannot be imported",
            expected="a working package openvino",
            found=str(error),
            fix="install it again (pip install 'cxrbench[openvino]'), or use --engine keras",
        ) from error
    return openvino


def _openvino(model: Any, example: Batch) -> Predict:
    openvino = _load_openvino()
    names = tuple(_by_name(example))
    shapes = {name: value.shape for name, value in _by_name(example).items()}
    compiled = openvino.Core().compile_model(_converted(model, shapes), "CPU", _FLOAT32)
    request = compiled.create_infer_request()
    # An input that nothing depends on may be gone.
    used = {name for port in compiled.inputs for name in port.get_names()}

    def predict(batch: Batch) -> np.ndarray:
        given = _by_name(batch)
        found = {name: value.shape for name, value in given.items()}
        if found != shapes:
            raise ValueError(f"expected inputs of the shapes {shapes}, found {found}")
        feed = {
            _port(number): np.ascontiguousarray(given[name], dtype=np.float32)
            for number, name in enumerate(names)
            if _port(number) in used
        }
        # The result lies in memory that the next request uses again.
        return np.array(request.infer(feed, share_inputs=True)[0], dtype=np.float32)

    return predict


def _by_name(batch: Batch) -> Mapping[str, np.ndarray]:
    return batch if isinstance(batch, Mapping) else {"": batch}


def _port(number: int) -> str:
    """OpenVINO's name of an input; a feature's own may have characters that TensorFlow refuses."""
    return f"input_{number}"


def _disagreement(wanted: np.ndarray, found: np.ndarray) -> str | None:
    """What to say of two outputs that differ by more than `TOLERANCE`; None if they do not."""
    if wanted.shape != found.shape:
        return f"shapes {wanted.shape} from Keras and {found.shape} from OpenVINO"
    magnitude = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=_SMALLEST_MAGNITUDE))
    if np.allclose(found, wanted, rtol=0.0, atol=TOLERANCE * magnitude, equal_nan=True):
        return None
    worst = float(np.abs(found - wanted).max())
    return f"a difference of {worst:.3g}, where the largest output is {magnitude:.3g}"


def _converted(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The network in OpenVINO, for these shapes only; its inputs are named as in `_port`.

    TensorFlow's graph is the one that OpenVINO reads well, and TensorFlow is always installed. The
    other ways were tried with OpenVINO 2026.4: its reader of JAX' programs fails on every network
    (`jax.numpy.float32` is no NumPy type to it), and so does the detour of `keras.Model.export`
    over jax2tf (XlaCallModule); PyTorch's traces fail on `aten::divide` of a normalisation, and
    programs of `torch.export` take three times as long to convert.
    """
    if any(layer.compute_dtype != "float32" for layer in model._flatten_layers()):
        raise _NotConverted("a network with layers that compute in another precision")
    backend = load_keras().backend.backend()
    if backend == "tensorflow":
        return _from_tensorflow(model, shapes)
    # jax and torch: a model file is the same for all, and another process reads it on TensorFlow.
    return _by_tensorflow(model, shapes)


def _from_tensorflow(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    import tensorflow as tf

    names = tuple(shapes)

    def call(*tensors: Any) -> Any:
        alone = names == ("",)
        given = tensors[0] if alone else dict(zip(names, tensors, strict=True))
        return model(given, training=False)

    specs = [
        tf.TensorSpec(shape, tf.float32, name=_port(number))
        for number, shape in enumerate(shapes.values())
    ]
    try:
        graph = tf.function(call, autograph=False).get_concrete_function(*specs)
        return _load_openvino().convert_model(graph)
    except Exception as error:  # each layer and operation has its own way to fail
        raise _NotConverted(_last_line(str(error))) from error


def _by_tensorflow(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    with tempfile.TemporaryDirectory(prefix="cxrbench-") as folder:
        written, converted = Path(folder, "model.keras"), Path(folder, "model.xml")
        model.save(written)
        done = subprocess.run(
            [sys.executable, "-c", _CONVERT, written, converted, json.dumps(shapes)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise _NotConverted(_last_line(done.stderr))
        # Read whole: the folder goes, and the weights are mapped from their file otherwise.
        openvino = _load_openvino()
        return openvino.Core().read_model(
            converted.read_bytes(), converted.with_suffix(".bin").read_bytes()
        )


_CONVERT = """
import json, sys
from cxrbench.modeling.engine import convert_file
convert_file(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
"""


def convert_file(written: str, converted: str, shapes: Mapping[str, list[int]]) -> None:
    """A ``.keras`` file to OpenVINO's ``.xml`` and ``.bin``; the work of a process of its own."""
    model = load_keras().models.load_model(written, compile=False, safe_mode=True)
    static = {name: tuple(shape) for name, shape in shapes.items()}
    _load_openvino().save_model(_from_tensorflow(model, static), converted, compress_to_fp16=False)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"
