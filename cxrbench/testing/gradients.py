"""Checks that gradients reach every input of a network, and are the same on each backend."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import PluginError
from cxrbench.modeling.backend import load_keras, value_and_gradient
from cxrbench.testing.check import NotChecked
from cxrbench.testing.networks import Sample

_IMAGES = 2
_TOLERANCE = 0.01
"""Of a gradient's length: where the two largest of a pool are nearly equal, backends differ."""


def gradients_on(backend: str, sample: Sample) -> str:
    """Finite gradients of the predictions by each input, some not 0, as on the current backend."""
    if find_spec(backend) is None:
        raise NotChecked(f"{backend} is not installed")
    own = input_gradients(sample.model, _inputs(sample))
    here = load_keras().backend.backend() == backend
    found = own if here else _elsewhere(backend, sample)
    told = []
    for name, wanted in own.items():
        _require_useful(sample, backend, name, found[name])
        apart = _apart(wanted, found[name])
        if not apart <= _TOLERANCE:
            raise PluginError(
                f"{sample.subject.text} has other gradients by {name!r} on {backend}",
                expected=f"those of {load_keras().backend.backend()}, within {_TOLERANCE:.0%}",
                found=f"{apart:.1%} apart",
                fix="use Keras' layers and keras.ops alone, nothing of one backend",
            )
        told.append(name if here else f"{name} {apart:.0e}")
    return ("by " if here else "apart: ") + ", ".join(told)


def input_gradients(model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradient of the sum of an image's outputs by each of its inputs, with their shapes."""
    ops = load_keras().ops
    given = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
    found = {}
    for name, value in inputs.items():

        def summed(point: Any, name: str = name) -> Any:
            return ops.sum(model({**given, name: point}, training=False), axis=1)

        _, found[name] = value_and_gradient(summed, value)
    return found


def write_gradients(model: Path, inputs: Path, target: Path) -> None:
    """What another process does: the gradients of a ``.keras`` file at inputs, as ``.npz``."""
    loaded = load_keras().models.load_model(model, compile=False, safe_mode=True)
    with np.load(inputs, allow_pickle=False) as file:
        given = {name: file[name] for name in file.files}
    np.savez(target, **input_gradients(loaded, given))  # type: ignore[arg-type]


_WRITE = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[4].split("\\n")
from cxrbench.testing.gradients import write_gradients
write_gradients(*map(Path, sys.argv[1:4]))
"""


def _elsewhere(backend: str, sample: Sample) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        model, inputs, target = (
            Path(folder, name) for name in ("model.keras", "inputs.npz", "gradients.npz")
        )
        sample.model.save(model)
        np.savez(inputs, **_inputs(sample))  # type: ignore[arg-type]
        done = subprocess.run(
            [sys.executable, "-c", _WRITE, model, inputs, target, "\n".join(sys.path)],
            env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise PluginError(
                f"{sample.subject.text} has no gradients on {backend}",
                expected=f"a network that KERAS_BACKEND={backend} computes and differentiates",
                found=(done.stderr.strip().splitlines() or ["no message"])[-1][:500],
                fix="use Keras' layers and keras.ops alone, nothing of one backend",
            )
        with np.load(target, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def _apart(wanted: np.ndarray, found: np.ndarray) -> float:
    """The length of the difference, as a share of the length that is wanted."""
    # In double precision: the squares of a deep network's gradients can be too small for single.
    one, other = wanted.astype(np.float64), found.astype(np.float64)
    return float(np.linalg.norm(other - one) / np.linalg.norm(one))


def _inputs(sample: Sample) -> dict[str, np.ndarray]:
    return {name: value[:_IMAGES] for name, value in sample.inputs.items()}


def _require_useful(sample: Sample, backend: str, name: str, gradient: np.ndarray) -> None:
    if np.isfinite(gradient).all() and gradient.any():
        return
    raise PluginError(
        f"{sample.subject.text} lets no gradient through to {name!r} on {backend}",
        expected="finite numbers, some of them not 0: training and Grad-CAM need them",
        found="only zeros" if np.isfinite(gradient).all() else "numbers that are not finite",
        fix="use the input, without stop_gradient, rounding or argmax on the way; add a small "
        "number under square roots and in divisions",
    )
