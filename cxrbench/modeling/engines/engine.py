"""The engines that compute a network on a CPU, each held to what Keras gives here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from cxrbench.errors import DeviceError, SettingsError
from cxrbench.modeling.backend import BACKENDS, load_keras
from cxrbench.modeling.engines.batch import Batch, Predict, Unable
from cxrbench.modeling.engines.with_keras import elsewhere, here
from cxrbench.modeling.engines.with_openvino import openvino_predictor

ELSEWHERE = {f"keras-{backend}": backend for backend in BACKENDS}
"""Keras on a backend that need not be the current one."""

ENGINES = ("keras", "openvino", *ELSEWHERE)

TOLERANCE = 1e-4
"""The largest difference between engines, as a share of the largest magnitude of the output.

No probability is above 1, so probabilities differ by less than this.
"""

# Below this a magnitude is rounding: outputs that are all (nearly) zero agree.
_SMALLEST_MAGNITUDE = 1e-3


def predictor(model: Any, engine: str, example: Batch) -> Predict:
    """What predicts batches of the shape of ``example`` with this engine.

    The engine's prediction of ``example`` is compared with that of Keras on the current backend
    before it is used for anything: see `TOLERANCE`.

    Raises
    ------
    DeviceError : the engine is missing, cannot have this network, or does not agree with Keras.
    SettingsError : there is no such engine.
    """
    require_known(engine, ENGINES)
    on_keras = here(model)
    if engine in ("keras", f"keras-{load_keras().backend.backend()}"):
        return on_keras
    require_installed(engine)
    try:
        found = _started(model, engine, example)
        output = found(example)
    except Unable as error:
        raise DeviceError(
            f"the engine {engine} cannot compute this network",
            expected="a float32 network of Keras' own layers",
            found=str(error),
            fix="use --engine keras",
        ) from error
    difference = _disagreement(on_keras(example), output)
    if difference is not None:
        raise DeviceError(
            f"the engine {engine} and Keras do not agree on this network",
            expected=f"outputs that differ by at most {TOLERANCE:g} of the largest one",
            found=difference,
            fix="use --engine keras",
        )
    return found


def require_known(engine: str, known: tuple[str, ...]) -> None:
    """Raise `SettingsError` for an engine that is none of ``known``."""
    if engine not in known:
        raise SettingsError(
            f"there is no engine {engine!r}", expected=" or ".join(known), found=repr(engine)
        )


def is_installed(engine: str) -> bool:
    """Whether the package is there that this engine needs besides Keras."""
    package = ELSEWHERE.get(engine, engine)
    return package == "keras" or find_spec(package) is not None


def require_installed(engine: str) -> None:
    """Raise `DeviceError` for an engine whose package is missing."""
    if not is_installed(engine):
        package = ELSEWHERE.get(engine, engine)
        raise DeviceError(
            f"--engine {engine} was asked for and {package} is not installed",
            expected=f"the package {package}",
            found="none",
            fix=f"pip install 'cxrbench[{package}]', or use --engine auto",
        )


def _started(model: Any, engine: str, example: Batch) -> Predict:
    if engine == "openvino":
        return openvino_predictor(model, example)
    return elsewhere(model, example, ELSEWHERE[engine])


def _disagreement(wanted: np.ndarray, found: np.ndarray) -> str | None:
    """What to say of two outputs that differ by more than `TOLERANCE`; None if they do not."""
    if wanted.shape != found.shape:
        return f"shapes {wanted.shape} from Keras and {found.shape} from the engine"
    magnitude = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=_SMALLEST_MAGNITUDE))
    if np.allclose(found, wanted, rtol=0.0, atol=TOLERANCE * magnitude, equal_nan=True):
        return None
    worst = float(np.abs(found - wanted).max())
    return f"a difference of {worst:.3g}, where the largest output is {magnitude:.3g}"
