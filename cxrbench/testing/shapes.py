"""Checks of what a backbone and a fusion give: a feature map, and one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxrbench.errors import CxrbenchError, PluginError
from cxrbench.modeling.assemble import build_trunk, freeze_below
from cxrbench.modeling.backend import load_keras
from cxrbench.testing.networks import FEATURES, Sample, fused, side_of


def backbone_shapes(sample: Sample) -> str:
    """Grey images to a float32 map, at the checked and at its own size; ``freeze_at`` is there."""
    part = sample.subject.part
    told = []
    for size in sorted({side_of(sample.subject), part.image_size}):
        trunk = build_trunk(part, size, None, 0)
        shape, given = tuple(trunk.output_shape), tuple(trunk.input_shape)
        dtype = load_keras().backend.standardize_dtype(trunk.output.dtype)
        if given != (None, size, size, 1) or None in shape[1:] or dtype != "float32":
            raise PluginError(
                f"{sample.subject.text} does not map grey images to a feature map",
                expected=f"(N, {size}, {size}, 1) to (N, h, w, C), all but N known, in float32",
                found=f"{given} to {shape}, {dtype}",
                fix="make the model with keras.Input((image_size, image_size, 1)), "
                "include_top=False, and no cast at its end",
            )
        told.append(f"{size} px to {' x '.join(map(str, shape[1:]))}")
    freeze_below(trunk, part.freeze_at)  # raises where there is no such layer
    if not trunk.trainable_weights:
        raise PluginError(
            f"{sample.subject.text} has no weights from freeze_at={part.freeze_at!r} on",
            expected="layers that train",
            found="none",
            fix="set freeze_at to the first layer of the last stage",
        )
    return ", ".join(told)


def fusion_shapes(sample: Sample) -> str:
    """(N, k) of image and features; of one of the two alone that too, or a `CxrbenchError`."""
    fusion, text = sample.subject.part, sample.subject.text
    told = []
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
            told.append(f"{name}: refused, {refusal.problem}")
            continue
        except Exception as error:
            raise PluginError(
                f"{text} cannot join {name}",
                expected="a tensor (N, k), or a CxrbenchError that tells the user what to add",
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
                fix="look at what fuse does with image=None and with features={}",
            ) from error
        told.append(f"{name}: k = {_width(text, network.top, name)}")
    return "; ".join(told)


def _width(text: str, top: Any, name: str) -> int:
    shape = tuple(top.get_layer("head").input.shape)
    if len(shape) != 2 or shape[1] is None:
        raise PluginError(
            f"{text} does not give one vector for {name}",
            expected="a Keras tensor (N, k)",
            found=f"shape {shape}",
            fix="pool or flatten at the end of fuse",
        )
    return int(shape[1])
