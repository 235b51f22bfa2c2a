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
"""Share of a gradient's length: backends differ if two values of a pool are nearly equal."""


def gradients_on(backend: str, sample: Sample) -> str:
    """Finite gradients of the predictions by each input, some not 0, as on the current backend."""
    if find_spec(backend) is None:
        raise NotChecked(f"{backend} is not installed")
    own = input_gradients(sample.model, _inputs(sample))
    here = load_keras().backend.backend() == backend
    other = own if here else _elsewhere(backend, sample)
    results = []
    for name, gradient in own.items():
        _require_useful(sample, backend, name, other[name])
        apart = _apart(gradient, other[name])
        if not apart <= _TOLERANCE:
            raise PluginError(
                f"{sample.subject.text} has other gradients for {name!r} on {backend}",
                expected=f"those of {load_keras().backend.backend()}, within {_TOLERANCE:.0%}",
                found=f"{apart:.1%} apart",
                fix="use only Keras' layers and keras.ops, nothing of a single backend",
            )
        results.append(name if here else f"{name} {apart:.0e}")
    return ("by " if here else "apart: ") + ", ".join(results)


def input_gradients(model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradient of the sum of an image's outputs by each of its inputs, with their shapes."""
    ops = load_keras().ops
    tensors = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
    gradients = {}
    for name, value in inputs.items():

        def summed(point: Any, name: str = name) -> Any:
            return ops.sum(model({**tensors, name: point}, training=False), axis=1)

        _, gradients[name] = value_and_gradient(summed, value)
    return gradients


def write_gradients(model: Path, inputs: Path, target: Path) -> None:
    """Write the gradients of a ``.keras`` file at inputs as ``.npz``, in another process."""
    loaded = load_keras().models.load_model(model, compile=False, safe_mode=True)
    with np.load(inputs, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(target, **input_gradients(loaded, arrays))  # type: ignore[arg-type]


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
                fix="use only Keras' layers and keras.ops, nothing of a single backend",
            )
        with np.load(target, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def _apart(gradient: np.ndarray, other: np.ndarray) -> float:
    """The length of the difference, as a share of the length of the first."""
    # In double precision: the squares of a deep network's gradients can be too small for single.
    one, two = gradient.astype(np.float64), other.astype(np.float64)
    return float(np.linalg.norm(two - one) / np.linalg.norm(one))


def _inputs(sample: Sample) -> dict[str, np.ndarray]:
    return {name: value[:_IMAGES] for name, value in sample.inputs.items()}


def _require_useful(sample: Sample, backend: str, name: str, gradient: np.ndarray) -> None:
    if np.isfinite(gradient).all() and gradient.any():
        return
    raise PluginError(
        f"{sample.subject.text} lets no gradient through to {name!r} on {backend}",
        expected="finite numbers, some of them not 0: training and Grad-CAM need them",
        found="only zeros" if np.isfinite(gradient).all() else "numbers that are not finite",
        fix="use the input without stop_gradient, rounding or argmax; add a small number under "
        "square roots and in divisions",
    )
