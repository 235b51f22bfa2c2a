"""Checks of a backbone or a fusion: its shapes, and its behaviour in a whole network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.builtin.concat import Concat
from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.errors import CxrbenchError, PluginError, RunError
from cxrbench.inference.export import compare_elsewhere
from cxrbench.modeling.assemble import build_trunk, freeze_below
from cxrbench.modeling.backend import load_keras
from cxrbench.testing.networks import (
    FEATURES,
    Sample,
    fused,
    make_inputs,
    make_network,
    side_of,
    ugly_inputs,
)
from cxrbench.testing.samples import compare_speed, difference, films

_TOLERANCE = 1e-5
"""Of probabilities: batches of other sizes are summed in another order."""


def determinism(sample: Sample) -> str:
    """The same seed gives the same weights; the same inputs give the same predictions."""
    again = make_network(sample.subject, seed=0).whole(probabilities=True)
    pairs = zip(sample.model.get_weights(), again.get_weights(), strict=True)
    if not all(np.array_equal(one, other) for one, other in pairs):
        raise PluginError(
            f"{sample.subject.text} has other weights for the same seed",
            expected="the same random weights, because Keras' seed is set before build",
            found="other weights",
            fix="use Keras' initialisers, and no other random generator",
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
    """An image's probabilities do not depend on the other images of its batch."""
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
            "compute nothing across the first axis; use Keras' layer for batch normalisation",
        )
    return ""


def images(sample: Sample) -> str:
    """Images unlike any radiograph give finite probabilities."""
    scores = _predict(sample.model, ugly_inputs(sample.subject))
    if not np.isfinite(scores).all():
        raise PluginError(
            f"{sample.subject.text} gives undefined probabilities for some images or vectors",
            expected="finite probabilities for black, white and constant images too",
            found=f"{(~np.isfinite(scores)).any(axis=1).sum()} of {len(scores)} are not finite",
            fix="add a small number to deviations and lengths before dividing by them",
        )
    return f"{len(scores)} images"


def saving(sample: Sample) -> str:
    """Saved weights, loaded into a new network, give the same predictions."""
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
        "keep all numbers of the model in weights of layers or in the code",
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
                expected="a model that keras.models.load_model opens",
                found=error.found or error.problem,
                fix="build it from Keras' own layers: no custom class, no Lambda, and "
                "keras.ops only on Keras tensors",
            ) from error
    return f"a difference of {worst:.1g}"


def quickness(sample: Sample) -> str:
    """The time of predicting, compared with ResNet50, or with ``concat`` on the same inputs."""
    subject = sample.subject
    inputs = make_inputs(subject, films(16))
    if subject.kind == "backbone":
        rival, name = build_trunk(ResNet50(), side_of(subject), None, 0), "resnet50"
        own: Any = sample.network.trunk
        work, rivals_work = (
            (lambda model=model: model.predict_on_batch(inputs["image"])) for model in (own, rival)
        )
    else:
        other, name = fused(Concat(), FEATURES, image=True).whole(), "concat"
        work, rivals_work = (
            (lambda model=model: model.predict_on_batch(inputs)) for model in (sample.model, other)
        )
    return compare_speed(subject.text, work, name, rivals_work, len(inputs["image"]))


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
    first: np.ndarray,
    other: np.ndarray,
    when: str,
    fix: str,
    *,
    tolerance: float = _TOLERANCE,
) -> None:
    worst = float(np.abs(first - other).max())
    if not worst <= tolerance:  # NaN too
        raise PluginError(
            f"{sample.subject.text} predicts other probabilities {when}",
            expected=f"the same probabilities, within {tolerance:g}" if tolerance else "the same",
            found=difference(first, other),
            fix=fix,
        )


def backbone_shapes(sample: Sample) -> str:
    """Grey images to a float32 map, at the checked and its own size; ``freeze_at`` exists."""
    part = sample.subject.part
    results = []
    for size in sorted({side_of(sample.subject), part.image_size}):
        trunk = build_trunk(part, size, None, 0)
        shape, inputs = tuple(trunk.output_shape), tuple(trunk.input_shape)
        dtype = load_keras().backend.standardize_dtype(trunk.output.dtype)
        if inputs != (None, size, size, 1) or None in shape[1:] or dtype != "float32":
            raise PluginError(
                f"{sample.subject.text} does not map grey images to a feature map",
                expected=f"(N, {size}, {size}, 1) to (N, h, w, C), all but N known, in float32",
                found=f"{inputs} to {shape}, {dtype}",
                fix="make the model with keras.Input((image_size, image_size, 1)), "
                "include_top=False, and no cast at its end",
            )
        results.append(f"{size} px to {' x '.join(map(str, shape[1:]))}")
    freeze_below(trunk, part.freeze_at)  # raises if there is no such layer
    if not trunk.trainable_weights:
        raise PluginError(
            f"{sample.subject.text} has no weights from freeze_at={part.freeze_at!r} on",
            expected="layers that train",
            found="none",
            fix="set freeze_at to the first layer of the last stage",
        )
    return ", ".join(results)


def fusion_shapes(sample: Sample) -> str:
    """(N, k) from image and features; from one of the two likewise, or a `CxrbenchError`."""
    fusion, text = sample.subject.part, sample.subject.text
    results = []
    first = dict(list(FEATURES.items())[:1])
    cases: tuple[tuple[str, Mapping[str, int], bool], ...] = (
        ("image and features", FEATURES, True),
        ("image and one feature", first, True),
        ("image alone", {}, True),
        ("features alone", FEATURES, False),
    )
    for name, features, image in cases:
        try:
            network = fused(fusion, features, image=image)
        except CxrbenchError as refusal:
            if image and features:
                raise
            results.append(f"{name}: refused, {refusal.problem}")
            continue
        except Exception as error:
            raise PluginError(
                f"{text} cannot join {name}",
                expected="a tensor (N, k), or a CxrbenchError that says what to add",
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
                fix="let fuse handle image=None and features={}",
            ) from error
        results.append(f"{name}: k = {_width(text, network.top, name)}")
    return "; ".join(results)


def _width(text: str, top: Any, name: str) -> int:
    names = {layer.name for layer in top.layers}
    shape = tuple(top.get_layer("head" if "head" in names else "logits").input.shape)
    if len(shape) != 2 or shape[1] is None:
        raise PluginError(
            f"{text} does not give one vector for {name}",
            expected="a Keras tensor (N, k)",
            found=f"shape {shape}",
            fix="pool or flatten at the end of fuse",
        )
    return int(shape[1])
