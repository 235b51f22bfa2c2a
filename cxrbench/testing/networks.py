"""Networks and inputs for the checks of backbones and fusions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from cxrbench.builtin.concat import Concat
from cxrbench.interfaces import Backbone, Fusion
from cxrbench.modeling.assemble import Network, Statistics, build_top, build_trunk
from cxrbench.modeling.backend import load_keras
from cxrbench.store.decoding import fit_image
from cxrbench.testing.check import Subject
from cxrbench.testing.samples import films, ugly_images

LABELS = 3
FEATURES: Mapping[str, int] = {"orb": 16, "sift": 5}
"""The features that a fusion is checked with, and the lengths of their vectors."""

STAND_IN_SIZE = 32


@dataclass(frozen=True)
class StandIn(Backbone):
    """A small CNN in place of a backbone, to check a fusion with."""

    name: ClassVar[str] = "standin"
    image_size: ClassVar[int] = STAND_IN_SIZE
    freeze_at: ClassVar[str] = "maps"

    def build(self, image_size: int, weights: str | None) -> Any:
        """Grey (N, S, S, 1) to (N, S / 8, S / 8, 8)."""
        keras = load_keras()
        grey = keras.Input((image_size, image_size, 1), name="grey")
        scaled = keras.layers.Rescaling(1 / 255)(grey)
        maps = keras.layers.Conv2D(8, 9, 8, padding="same", activation="relu", name="maps")(scaled)
        return keras.Model(grey, maps, name=self.name)


@dataclass(frozen=True, eq=False)
class Sample:
    """A part in a whole network, made once for all checks that only look at it."""

    subject: Subject

    @cached_property
    def network(self) -> Network:
        """With the weights of seed 0."""
        return make_network(self.subject, seed=0)

    @cached_property
    def model(self) -> Any:
        """Pixels and feature vectors to probabilities (N, 3)."""
        return self.network.whole(probabilities=True)

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """Eight of what the model takes: films, and normally distributed vectors."""
        return make_inputs(self.subject, films(8))


def make_network(subject: Subject, *, seed: int) -> Network:
    """The part in a network with random weights: a backbone alone, a fusion of everything.

    Raises
    ------
    CxrbenchError : it cannot be built.
    """
    if subject.kind == "backbone":
        trunk = build_trunk(subject.part, side_of(subject), None, seed)
        return build_top(trunk, Concat(), {}, labels=LABELS, seed=seed)
    return fused(subject.part, FEATURES, image=True, seed=seed)


def fused(fusion: Fusion, features: Mapping[str, int], *, image: bool, seed: int = 0) -> Network:
    """A fusion of a stand-in's image, or of none, and of features of these lengths."""
    trunk = build_trunk(StandIn(), STAND_IN_SIZE, None, seed) if image else None
    statistics = {
        name: Statistics(np.zeros(length, np.float32), np.ones(length, np.float32))
        for name, length in features.items()
    }
    head = "linear" if fusion.linear_head == "late" else "mlp"
    return build_top(trunk, fusion, statistics, labels=LABELS, seed=seed, head=head)


def side_of(subject: Subject) -> int:
    """The side in pixels of the images."""
    return subject.image_size if subject.kind == "backbone" else STAND_IN_SIZE


def make_inputs(subject: Subject, images: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of the network, one row for each image."""
    side = side_of(subject)
    fitted = np.stack([fit_image(image, side, "stretch") for image in images])
    inputs = {"image": fitted[..., None].astype(np.float32)}
    if subject.kind == "fusion":
        rng = np.random.default_rng(0)
        for name, length in FEATURES.items():
            inputs[name] = rng.normal(size=(len(images), length)).astype(np.float32)
    return inputs


def ugly_inputs(subject: Subject) -> dict[str, np.ndarray]:
    """Inputs from images unlike any radiograph; feature vectors of zeros and far from the mean."""
    inputs = make_inputs(subject, list(ugly_images().values()))
    for name in set(inputs) - {"image"}:
        inputs[name][0] = 0
        inputs[name][1] = 1000
    return inputs
