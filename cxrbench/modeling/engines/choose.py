"""Choose the engine that computes a network fastest on this machine, by measuring once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from cxrbench.errors import DeviceError
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import hardware, load_keras
from cxrbench.modeling.engines.batch import Batch, Predict, by_name
from cxrbench.modeling.engines.engine import (
    ELSEWHERE,
    ENGINES,
    is_installed,
    predictor,
    require_installed,
    require_known,
)
from cxrbench.store.cache import key_of
from cxrbench.store.choices import kept_choice

CHOICE_VERSION = 2
"""Part of every key of a choice; raised when engines are measured otherwise."""

WORTH_CONVERTING = 5000
"""Images from which on it is worth to look for a faster engine.

To convert ResNet50 and to measure takes some 15 s on two cores, and OpenVINO saves 5 ms an image.
"""

# Another engine brings other last digits: it has to be worth that.
_WORTH = 1.05
_SECONDS = 4.0
_ROUNDS = (3, 15)


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
    """One of `ENGINES`; ``auto`` is the fastest on a CPU in float32, as measured once.

    ``make_network`` gives the model and a batch for it, and is only asked where there is a choice.
    For fewer ``images`` than `WORTH_CONVERTING`, ``auto`` is Keras on the current backend. The
    choice is kept in ``engines/`` of the cache, so that this machine takes the same engine for the
    same network from then on, whatever its weights are.

    Raises
    ------
    DeviceError : an engine was asked for and is not installed, or not for this device or precision.
    SettingsError : there is no such engine.
    CacheError : the choice cannot be kept.
    """
    require_known(wanted, ("auto", *ENGINES))
    if wanted not in ("auto", "keras"):
        require_installed(wanted)
        _require_cpu_and_float32(wanted, device, precision)
    if wanted != "auto":
        return wanted
    others = _others()
    if device != "cpu" or precision != "float32" or not others or images < WORTH_CONVERTING:
        return "keras"

    model, example = make_network()

    def fastest() -> str:
        speeds = _measure(model, example, others)
        display.say(f"  {speeds.told()}")
        return speeds.fastest

    about = _conditions(model, example, others)
    return kept_choice("engines", about, fastest, cache=cache, display=display)


def _require_cpu_and_float32(engine: str, device: str, precision: str) -> None:
    if device != "cpu":
        raise _only(engine, "a CPU", f"--device {device}", "use --engine keras, or --device cpu")
    if precision != "float32":
        found, fix = f"--precision {precision}", "use --engine keras, or --precision float32"
        raise _only(engine, "float32", found, fix)


def _only(engine: str, expected: str, found: str, fix: str) -> DeviceError:
    return DeviceError(
        f"--engine {engine} is for {expected}", expected=expected, found=found, fix=fix
    )


def _others() -> tuple[str, ...]:
    """What can be had here besides Keras on the current backend."""
    current = f"keras-{load_keras().backend.backend()}"
    return tuple(e for e in ENGINES if e not in ("keras", current) and is_installed(e))


@dataclass(frozen=True)
class _Speeds:
    """Images per second of the engines, and the reasons of those that cannot be used."""

    rates: Mapping[str, float]
    reasons: Mapping[str, str]

    @property
    def fastest(self) -> str:
        best = max(self.rates, key=self.rates.__getitem__)
        return best if self.rates[best] > _WORTH * self.rates["keras"] else "keras"

    def told(self) -> str:
        parts = [f"{name} {rate:.1f} images/s" for name, rate in self.rates.items()]
        parts += [f"not {name} ({why})" for name, why in self.reasons.items()]
        return f"engine {self.fastest}: {', '.join(parts)}"


def _measure(model: Any, example: Batch, others: Sequence[str]) -> _Speeds:
    ready = {"keras": predictor(model, "keras", example)}
    ready["keras"](example)
    reasons = {}
    for name in others:
        try:
            ready[name] = predictor(model, name, example)
        except DeviceError as error:
            reasons[name] = " ".join(str(error).split())
    return _Speeds(_rates(ready, example), reasons)


def _rates(predictors: Mapping[str, Predict], example: Batch) -> dict[str, float]:
    """Images per second of each by the median of rounds, in turns: others use the CPU too."""
    count = len(next(iter(by_name(example).values())))
    took: dict[str, list[float]] = {name: [] for name in predictors}
    until = time.perf_counter() + _SECONDS
    fewest, most = _ROUNDS
    for done in range(most):
        if done >= fewest and time.perf_counter() > until:
            break
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict(example)
            took[name].append(time.perf_counter() - start)
    return {name: count / median(seconds) for name, seconds in took.items()}


def _conditions(model: Any, example: Batch, others: Sequence[str]) -> dict[str, Any]:
    """What decides which engine is the fastest."""
    machine, backend = hardware("cpu"), load_keras().backend.backend()
    packages = ["keras", backend, *(ELSEWHERE.get(name, name) for name in others)]
    return {
        "version": CHOICE_VERSION,
        "layers": key_of({"": _outline(json.loads(model.to_json()))}),
        "inputs": {name: list(value.shape) for name, value in sorted(by_name(example).items())},
        "backend": backend,
        "versions": {name: version(name) for name in packages},
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
