"""The engine that computes a frozen network: Keras, or OpenVINO where it is faster on a CPU."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from cxrbench.errors import DeviceError, SettingsError
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import backend_name, hardware
from cxrbench.modeling.openvino import Unable, openvino_predictor
from cxrbench.modeling.predict import Batch, Predict, by_name
from cxrbench.store.cache import kept_choice, key_of

ENGINES = ("keras", "openvino")

CHOICE_VERSION = 2
"""Part of every key of a choice; raised when engines are measured differently."""

WORTH_CONVERTING = 5000
"""The number of images from which on ``auto`` looks for a faster engine.

Converting and measuring ResNet50 takes about 15 s on two cores. OpenVINO saves 5 ms per image.
"""

TOLERANCE = 1e-4
"""The largest difference between engines, as a share of the largest magnitude of the output.

No probability is above 1, so probabilities differ by less than this.
"""

# Below this a magnitude is rounding: outputs that are all (nearly) zero agree.
_SMALLEST_MAGNITUDE = 1e-3
# Another engine changes the last digits, so it must be faster by this factor.
_WORTH = 1.05
_SECONDS = 4.0
_ROUNDS = (3, 15)


def choose_engine(
    engine: str,
    make_network: Callable[[], tuple[Any, Batch]],
    *,
    device: str,
    precision: str,
    images: int,
    cache: Path,
    display: Display,
) -> str:
    """Return one of `ENGINES`; ``auto`` is the fastest on a CPU in float32, as measured once.

    ``make_network`` returns the model and a batch for it. It is called only if there is a choice.
    For fewer ``images`` than `WORTH_CONVERTING`, ``auto`` is Keras on the current backend. The
    choice is stored in ``engines/`` of the cache: this machine uses the same engine for the same
    network from then on, whatever its weights are.

    Raises
    ------
    DeviceError : OpenVINO is requested and not installed, or not for this device or precision.
    SettingsError : there is no such engine.
    CacheError : the choice cannot be stored.
    """
    _require_known(engine, ("auto", *ENGINES))
    if engine == "openvino":
        _require_openvino()
        for option, value, usable, name in (
            ("--device", device, "cpu", "a CPU"),
            ("--precision", precision, "float32", "float32"),
        ):
            if value != usable:
                raise DeviceError(
                    f"--engine openvino is for {name}",
                    expected=name,
                    found=f"{option} {value}",
                    fix=f"use --engine keras, or {option} {usable}",
                )
    if engine != "auto":
        return engine
    is_possible = device == "cpu" and precision == "float32" and _has_openvino()
    if not is_possible or images < WORTH_CONVERTING:
        return "keras"
    model, example = make_network()

    def fastest() -> str:
        choice, reasons = _faster(model, example)
        display.say(f"  engine {choice}: {reasons}")
        return choice

    about = _conditions(model, example)
    return kept_choice("engines", about, fastest, cache=cache, display=display)


def predictor(model: Any, engine: str, example: Batch) -> Predict:
    """Return a function that predicts batches of the shape of ``example`` with this engine.

    The engine's prediction of ``example`` is first compared with that of Keras on the current
    backend: see `TOLERANCE`.

    Raises
    ------
    DeviceError : the engine is missing, cannot compute this network, or disagrees with Keras.
    SettingsError : there is no such engine.
    """
    _require_known(engine, ENGINES)

    def keras(batch: Batch) -> np.ndarray:
        return np.asarray(model.predict_on_batch(batch), dtype=np.float32)

    if engine == "keras":
        return keras
    _require_openvino()
    try:
        openvino = openvino_predictor(model, example)
        output = openvino(example)
    except Unable as error:
        raise DeviceError(
            f"the engine {engine} cannot compute this network",
            expected="a float32 network of Keras' own layers",
            found=str(error),
            fix="use --engine keras",
        ) from error
    difference = _disagreement(keras(example), output)
    if difference is not None:
        raise DeviceError(
            f"the engine {engine} and Keras do not agree on this network",
            expected=f"outputs that differ by at most {TOLERANCE:g} of the largest one",
            found=difference,
            fix="use --engine keras",
        )
    return openvino


def _require_known(engine: str, engines: tuple[str, ...]) -> None:
    if engine not in engines:
        raise SettingsError(
            f"there is no engine {engine!r}", expected=" or ".join(engines), found=repr(engine)
        )


def _has_openvino() -> bool:
    return find_spec("openvino") is not None


def _require_openvino() -> None:
    if not _has_openvino():
        raise DeviceError(
            "--engine openvino needs OpenVINO, which is not installed",
            expected="the package openvino",
            found="none",
            fix="pip install 'cxrbench[openvino]', or use --engine auto",
        )


def _disagreement(expected: np.ndarray, output: np.ndarray) -> str | None:
    """Describe how two outputs differ by more than `TOLERANCE`; None if they do not."""
    if expected.shape != output.shape:
        return f"shapes {expected.shape} from Keras and {output.shape} from the engine"
    magnitude = float(np.abs(expected[np.isfinite(expected)]).max(initial=_SMALLEST_MAGNITUDE))
    if np.allclose(output, expected, rtol=0.0, atol=TOLERANCE * magnitude, equal_nan=True):
        return None
    worst = float(np.abs(output - expected).max())
    return f"a difference of {worst:.3g}, where the largest output is {magnitude:.3g}"


def _faster(model: Any, example: Batch) -> tuple[str, str]:
    """The faster engine, and the speeds that show it."""
    keras = predictor(model, "keras", example)
    keras(example)
    reason, predictors = "", {"keras": keras}
    try:
        predictors["openvino"] = predictor(model, "openvino", example)
    except DeviceError as error:
        reason = f", not openvino ({' '.join(str(error).split())})"
    rates = _rates(predictors, example)
    speeds = ", ".join(f"{name} {rate:.1f} images/s" for name, rate in rates.items())
    best = max(rates, key=rates.__getitem__)
    return best if rates[best] > _WORTH * rates["keras"] else "keras", speeds + reason


def _rates(predictors: Mapping[str, Predict], example: Batch) -> dict[str, float]:
    """Images per second of each by the median of rounds, in turns: others use the CPU too."""
    count = len(next(iter(by_name(example).values())))
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    until = time.perf_counter() + _SECONDS
    fewest, most = _ROUNDS
    for number in range(most):
        if number >= fewest and time.perf_counter() > until:
            break
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict(example)
            seconds[name].append(time.perf_counter() - start)
    return {name: count / median(times) for name, times in seconds.items()}


def _conditions(model: Any, example: Batch) -> dict[str, Any]:
    """Everything that decides which engine is the fastest."""
    machine, backend = hardware("cpu"), backend_name()
    return {
        "version": CHOICE_VERSION,
        "layers": key_of({"": _outline(json.loads(model.to_json()))}),
        "inputs": {name: list(value.shape) for name, value in sorted(by_name(example).items())},
        "backend": backend,
        "versions": {name: version(name) for name in ("keras", backend, "openvino")},
        "cpu": machine["device"],
        "cpus": machine["cpus"],
    }


# Keras numbers names, and the statistics of a normalisation are as good as weights.
_NOT_SPEED = (
    *("name", "mean", "variance", "trainable", "seed", "build_config"),
    *("inbound_nodes", "input_layers", "output_layers"),
)


def _outline(config: Any) -> Any:
    """The layers of a configuration, with those settings that cost time."""
    if isinstance(config, dict):
        return {key: _outline(part) for key, part in config.items() if key not in _NOT_SPEED}
    if isinstance(config, list):
        return [_outline(part) for part in config]
    return config
