"""Grad-CAM by hand: gradients written out in NumPy, on whatever backend this process has.

Run as a script it prints how far the maps are from these, as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from small_cnn import SmallCNN, small_pictures

from cxrbench import Fusion
from cxrbench.builtin.concat import Concat
from cxrbench.inference.saliency import gradcam, gradcam_plus_plus, logits_and_gradients
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics

ROWS = np.arange(6)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@dataclass(frozen=True)
class Flat(Fusion):
    """The whole map in a row, beside the features."""

    name: ClassVar[str] = "flat"
    image_input: ClassVar[Literal["embedding", "feature_map"]] = "feature_map"

    def fuse(self, image, features):
        import keras

        return keras.layers.Concatenate()([keras.layers.Flatten()(image), *features.values()])


def logits_and_gradients_by_hand(network, maps, features):
    """Each picture's label's logit and its gradient at the map, by the chain rule."""
    weights = {layer.name: layer.get_weights() for layer in network.top.layers}
    known = network.top.get_layer("age_standardised")
    age = (features["age"] - np.asarray(known.mean)) / np.sqrt(np.asarray(known.variance))
    if network.pools:
        crossing = maps.mean(axis=(1, 2))
        kernel, bias = weights["age_dense"]
        age = np.maximum(age @ kernel + bias, 0)
    else:
        crossing = maps.reshape(len(maps), -1)
    kernel, bias = weights["head"]
    hidden = np.maximum(np.concatenate([crossing, age], axis=1) @ kernel + bias, 0)
    last, offset = weights["logits"]
    logits = (hidden @ last + offset)[ROWS, LABELS]
    of_hidden = last[:, LABELS].T * (hidden > 0)
    of_crossing = of_hidden @ kernel[: crossing.shape[1]].T
    if not network.pools:
        return logits, of_crossing.reshape(maps.shape)
    of_place = of_crossing[:, None, None] / (maps.shape[1] * maps.shape[2])
    return logits, np.broadcast_to(of_place, maps.shape)


def gradcam_by_hand(maps, gradients):
    found = np.zeros(maps.shape[:3])
    for image, (picture, slopes) in enumerate(zip(maps, gradients, strict=True)):
        for channel in range(maps.shape[3]):
            found[image] += slopes[..., channel].mean() * picture[..., channel]
    return np.where(found > 0, found, 0)


def gradcam_plus_plus_by_hand(maps, gradients):
    found = np.zeros(maps.shape[:3])
    for image, (picture, slopes) in enumerate(zip(maps, gradients, strict=True)):
        for channel in range(maps.shape[3]):
            total, weight = picture[..., channel].sum(), 0.0
            for slope in slopes[..., channel].ravel():
                below = 2 * slope**2 + total * slope**3
                weight += (slope**2 / below if below else 0) * max(slope, 0)
            found[image] += weight * picture[..., channel]
    return np.where(found > 0, found, 0)


def differences() -> dict[str, float]:
    """The largest difference of each map and gradient, as a share of the largest value."""
    found = {}
    pictures = small_pictures()
    features = {"age": pictures.features["age"][ROWS]}
    statistics = {"age": feature_statistics(pictures.features["age"], np.arange(96))}
    trunk = build_trunk(SmallCNN(), 32, None, seed=3)
    maps = trunk.predict_on_batch(pictures.image[ROWS][..., None].astype(np.float32))
    for fusion in (Concat(), Flat()):
        network = build_top(trunk, fusion, statistics, labels=3, seed=3)
        logits, gradients = logits_and_gradients(network, maps, features, LABELS)
        logits_by_hand, by_hand = logits_and_gradients_by_hand(network, maps, features)
        pairs = {
            "logit": (logits, logits_by_hand),
            "gradient": (gradients, by_hand),
            "gradcam": (gradcam(maps, gradients), gradcam_by_hand(maps, by_hand)),
            "gradcam++": (
                gradcam_plus_plus(maps, gradients),
                gradcam_plus_plus_by_hand(maps, by_hand),
            ),
        }
        for name, (one, other) in pairs.items():
            assert one.shape == other.shape, name
            assert np.abs(other).max() > 1e-6, name
            worst = np.abs(np.asarray(one, np.float64) - other).max() / np.abs(other).max()
            found[f"{fusion.name} {name}"] = float(worst)
    return found


if __name__ == "__main__":
    print(json.dumps(differences()))
