"""Grad-CAM and Grad-CAM++ on each backend against gradients written out by hand."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gradcam_reference import differences

from cxrbench.inference.saliency import gradcam, gradcam_plus_plus
from cxrbench.modeling.backend import value_and_gradient

HERE = Path(__file__).parent


def agreed(found: dict[str, float]) -> None:
    assert len(found) == 8
    assert max(found.values()) < 1e-4, found


def test_maps_on_tensorflow_are_those_by_hand():
    agreed(differences())


@pytest.mark.parametrize(
    "name",
    [pytest.param("jax", marks=pytest.mark.slow), pytest.param("torch", marks=pytest.mark.torch)],
)
def test_maps_on_the_other_backends_are_those_by_hand(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "gradcam_reference.py")],
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    agreed(json.loads(done.stdout))


def test_a_label_that_no_place_speaks_for_has_a_map_of_zeros():
    maps = np.abs(np.random.default_rng(0).normal(size=(2, 3, 3, 4))).astype(np.float32)
    for method in (gradcam, gradcam_plus_plus):
        assert (method(maps, -np.ones_like(maps)) == 0).all()
        assert (method(maps, np.zeros_like(maps)) == 0).all()


def test_the_gradient_of_a_function_that_does_not_look_is_zero():
    import keras

    at = np.ones((3, 2), np.float32)
    value, gradient = value_and_gradient(lambda point: keras.ops.ones(3), at)
    assert value.tolist() == [1, 1, 1]
    assert gradient.tolist() == np.zeros((3, 2)).tolist()
