"""Checks of a backbone or a fusion in a whole network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.builtin.concat import Concat
from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.errors import PluginError, RunError
from cxrbench.inference.export import compare_elsewhere
from cxrbench.modeling.assemble import build_trunk
from cxrbench.modeling.backend import load_keras
from cxrbench.testing import speed
from cxrbench.testing.extracting import difference
from cxrbench.testing.networks import (
    FEATURES,
    Sample,
    fused,
    make_inputs,
    make_network,
    side_of,
    ugly_inputs,
)
from cxrbench.testing.samples import films

_TOLERANCE = 1e-5
"""Of probabilities: batches of other sizes are summed in another order."""


def determinism(sample: Sample) -> str:
    """The same seed gives the same weights; the same inputs give the same predictions."""
    again = make_network(sample.subject, seed=0).whole(probabilities=True)
    pairs = zip(sample.model.get_weights(), again.get_weights(), strict=True)
    if not all(np.array_equal(one, other) for one, other in pairs):
        raise PluginError(
            f"{sample.subject.text} has other weights for the same seed",
            expected="the same random weights, for Keras' seed is set before build",
            found="others",
            fix="use Keras' initialisers, and no generator with a seed of its own",
        )
    first, second, third = (
        _predict(model, sample.inputs) for model in (sample.model, sample.model, again)
    )
    for other in (second, third):
        _require_close(
            sample, first, other, "a second time", "draw nothing at inference", tolerance=0
        )
    return f"{sample.model.count_params():,} parameters, with the head"


def batches(sample: Sample) -> str:
    """An image's probabilities do not depend on what else is in its batch."""
    together = _predict(sample.model, sample.inputs)
    for size in (1, 3):
        parts = [
            _predict(sample.model, {n: v[at : at + size] for n, v in sample.inputs.items()})
            for at in range(0, len(together), size)
        ]
        _require_close(
            sample,
            together,
            np.concatenate(parts),
            f"in batches of {size}",
            "compute nothing across the first axis; batch normalisation is Keras' own layer",
        )
    return ""


def images(sample: Sample) -> str:
    """Images that no film looks like give finite probabilities."""
    given = ugly_inputs(sample.subject)
    found = _predict(sample.model, given)
    if not np.isfinite(found).all():
        raise PluginError(
            f"{sample.subject.text} gives no numbers for some images or vectors",
            expected="finite probabilities for black, white and constant images too",
            found=f"{(~np.isfinite(found)).any(axis=1).sum()} of {len(found)} are not finite",
            fix="add a small number where something is divided by a deviation or a length",
        )
    return f"{len(found)} images"


def saving(sample: Sample) -> str:
    """Weights alone, loaded into a network that is built anew, give the same predictions."""
    rebuilt = make_network(sample.subject, seed=1).whole(probabilities=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.weights.h5")
        sample.model.save_weights(path)
        rebuilt.load_weights(path)
        size = path.stat().st_size
    _require_close(
        sample,
        _predict(sample.model, sample.inputs),
        _predict(rebuilt, sample.inputs),
        "after its weights were loaded",
        "keep all numbers that a model is made of in layers' weights or in the code",
        tolerance=0,
    )
    return f"{size / 1e6:.1f} MB"


def export(sample: Sample) -> str:
    """A ``.keras`` file opens without cxrbench and gives the same probabilities."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        try:
            sample.model.save(path)
            worst = compare_elsewhere(sample.model, sample.inputs, path, "keras", Path(folder))
        except RunError as error:
            raise PluginError(
                f"{sample.subject.text} in a .keras file cannot be used without cxrbench",
                expected="a model that keras.models.load_model opens as it is",
                found=error.found or error.problem,
                fix="build it of Keras' own layers: no class of your own, no Lambda, and "
                "operations of keras.ops only on Keras tensors",
            ) from error
    return f"a difference of {worst:.1g}"


def quickness(sample: Sample) -> str:
    """Predicting beside ResNet50 on the same images, or beside ``concat`` on the same inputs."""
    subject = sample.subject
    given = make_inputs(subject, films(16))
    if subject.kind == "backbone":
        rival, name = build_trunk(ResNet50(), side_of(subject), None, 0), "resnet50"
        own: Any = sample.network.trunk
        work, rivals_work = (
            (lambda model=model: model.predict_on_batch(given["image"])) for model in (own, rival)
        )
    else:
        other, name = fused(Concat(), FEATURES, image=True).whole(), "concat"
        work, rivals_work = (
            (lambda model=model: model.predict_on_batch(given)) for model in (sample.model, other)
        )
    return speed.compare(subject.text, work, name, rivals_work, len(given["image"]))


COMMON: Mapping[str, Callable[[Sample], str]] = {
    "determinism": determinism,
    "batches": batches,
    "images": images,
    "saving": saving,
    "export": export,
    "speed": quickness,
}


def _predict(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.asarray(load_keras().ops.convert_to_numpy(model(dict(inputs), training=False)))


def _require_close(
    sample: Sample,
    wanted: np.ndarray,
    found: np.ndarray,
    when: str,
    fix: str,
    *,
    tolerance: float = _TOLERANCE,
) -> None:
    worst = float(np.abs(wanted - found).max())
    if not worst <= tolerance:  # NaN too
        raise PluginError(
            f"{sample.subject.text} predicts something else {when}",
            expected=f"the same probabilities, within {tolerance:g}" if tolerance else "the same",
            found=difference(wanted, found),
            fix=fix,
        )
