"""A plugin for tests: a small CNN, extractors and a drawn dataset; what they are asked is counted.

It is loaded through an entry point like a stranger's plugin, in this process and in others.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cxrbench import (
    Backbone,
    BagOfWords,
    Box,
    Cohort,
    Dataset,
    FeatureExtractor,
    Identity,
    LocalFeatures,
    hookimpl,
)

CXRBENCH_API = 1

calls: Counter[str] = Counter()


@dataclass(frozen=True)
class TinyNet(Backbone):
    name = "tinynet"
    aliases = ("tiny",)
    image_size = 32
    freeze_at = "second"

    channels: int = 8
    normalise: bool = False
    pause: float = 0.0

    def build(self, image_size, weights):
        import keras

        calls["build"] += 1
        time.sleep(self.pause)
        grey = keras.Input((image_size, image_size, 1), name="grey")
        scaled = keras.layers.Rescaling(1 / 255)(grey)
        first = keras.layers.Conv2D(4, 3, 2, activation="relu", name="first")(scaled)
        second = keras.layers.Conv2D(self.channels, 3, 2, activation="relu", name="second")(first)
        if self.normalise:
            second = keras.layers.BatchNormalization(name="second_bn")(second)
        model = keras.Model(grey, second, name=self.name)
        if weights == "imagenet":
            path = keras.utils.get_file("tinynet.weights.h5", "http://127.0.0.1:9/none.h5")
            model.load_weights(path)
        elif weights is not None:
            model.load_weights(weights)
        return model


@dataclass(frozen=True)
class Grid(FeatureExtractor):
    """The mean grey of each cell of a 4 × 4 grid."""

    name = "grid"
    encodings: ClassVar = {"identity": Identity}

    image_size: int = 32

    def extract(self, image, record):
        calls["grid"] += 1
        side = self.image_size // 4
        cells = image.reshape(4, side, 4, side).mean(axis=(1, 3)).astype(np.float32)
        return LocalFeatures(cells.reshape(1, 16))


@dataclass(frozen=True)
class Rows(FeatureExtractor):
    """Each row of the image, shrunk, as one descriptor."""

    name = "rows"
    encodings: ClassVar = {"bow": BagOfWords}

    image_size: int = 16

    def extract(self, image, record):
        calls["rows"] += 1
        return LocalFeatures(image.astype(np.float32))


@dataclass(frozen=True)
class Static(FeatureExtractor):
    """Noise of the image's name: it knows nothing of any label."""

    name = "static"
    image_size = None
    encodings: ClassVar = {"identity": Identity}

    def extract(self, image, record):
        rng = np.random.default_rng(list(record.image_id.encode()))
        return LocalFeatures(rng.normal(size=(1, 16)).astype(np.float32))


@dataclass(frozen=True)
class Drawn(Dataset):
    """Pictures whose quarters are bright where a label is positive, with a box around each."""

    name = "drawn"
    defaults: ClassVar = {"weights": "none", "image_size": 32, "epochs": 2, "batch_size": 16}

    patients: int = 60
    seed: int = 0
    official: bool = False
    pause: float = 0.0
    test_labels: str = "true"
    test_pixels: str = "true"
    boxes: bool = True

    def load(self):
        calls["load"] += 1
        rng = np.random.default_rng(self.seed)
        owners = np.repeat(np.arange(self.patients), 1 + np.arange(self.patients) % 2)
        positive = rng.random((self.patients, 3)) < 0.5
        told = positive[owners].astype(np.float32)
        if self.test_labels == "flipped":
            told[self._tested(owners)] = 1 - told[self._tested(owners)]
        labels = np.column_stack([told, told.sum(axis=1) == 0]).astype(np.float32)
        drawn = ["".join(str(int(v)) for v in positive[owner]) for owner in owners]
        tested = self._tested(owners)
        return Cohort(
            name=self.name,
            label_names=("Effusion", "Mass", "Nodule", "No Finding"),
            image_ids=tuple(f"i{row:03}" for row in range(len(owners))),
            patient_ids=tuple(f"p{owner:03}" for owner in owners),
            labels=labels,
            ages=np.where(owners % 5, 40 + owners % 40, np.nan).astype(np.float32),
            sexes=tuple("FM"[owner % 2] if owner % 7 else "" for owner in owners),
            views=tuple("PA" if owner % 3 else "AP" for owner in owners),
            boxes=self._boxes(drawn) if self.boxes else (),
            sources=tuple(
                f"{row}:{'000' if tested[row] and self.test_pixels == 'blank' else told}"
                for row, told in enumerate(drawn)
            ),
        )

    @staticmethod
    def _boxes(drawn):
        return tuple(
            Box(f"i{row:03}", name, 24 * (number % 2), 24 * (number // 2), 24, 24)
            for row, told in enumerate(drawn)
            for number, name in enumerate(("Effusion", "Mass", "Nodule"))
            if told[number] == "1"
        )

    @staticmethod
    def _tested(owners):
        return owners % 4 == 0

    def read(self, source, *, max_pixels):
        calls["read"] += 1
        time.sleep(self.pause)
        row, bits = source.split(":")
        rng = np.random.default_rng(int(row))
        image = rng.integers(40, 120, (48, 48))
        for number, bit in enumerate(bits):
            if bit == "1":
                y, x = divmod(number, 2)
                image[24 * y : 24 * y + 24, 24 * x : 24 * x + 24] += 60
        return image.astype(np.uint8)

    def signature(self, source):
        return source

    def official_parts(self, cohort: Cohort, folder: Path | None):
        if not self.official:
            return None
        owners = np.array([int(patient[1:]) for patient in cohort.patient_ids])
        return tuple("test" if tested else "train_val" for tested in self._tested(owners))


@hookimpl
def cxrbench_backbones():
    return [TinyNet]


@hookimpl
def cxrbench_feature_extractors():
    return [Grid, Rows, Static]


@hookimpl
def cxrbench_datasets():
    return [Drawn]
