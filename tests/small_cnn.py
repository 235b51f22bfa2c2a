"""A backbone that trains in seconds, and pictures that it can learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cxrbench import Backbone
from cxrbench.modeling.inputs import Inputs


@dataclass(frozen=True)
class SmallCNN(Backbone):
    """Two blocks of convolution, batch normalisation and ReLU: a quarter of the side, 16 maps."""

    name: ClassVar[str] = "smallcnn"
    image_size: ClassVar[int] = 32
    freeze_at: ClassVar[str] = "block2_conv"

    def build(self, image_size, weights):
        import keras

        grey = keras.Input((image_size, image_size, 1), name="grey")
        maps = keras.layers.Rescaling(1 / 255, name="scaled")(grey)
        for block, channels in (("block1", 8), ("block2", 16)):
            maps = keras.layers.Conv2D(channels, 3, 2, "same", name=f"{block}_conv")(maps)
            maps = keras.layers.BatchNormalization(name=f"{block}_bn")(maps)
            maps = keras.layers.ReLU(name=f"{block}_relu")(maps)
        model = keras.Model(grey, maps, name=self.name)
        if weights is not None:
            model.load_weights(weights)
        return model


def small_pictures() -> Inputs:
    """96 pictures of 32 x 32: bright left half, bright top, and a label without a cause.

    The last label is unknown for every fourth; the feature vector "age" tells nothing.
    """
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, (96, 3)).astype(np.float32)
    pixels = rng.integers(0, 150, (96, 32, 32), np.uint8)
    pixels[labels[:, 0] == 1, :, :16] += 100
    pixels[labels[:, 1] == 1, :16] += 5
    labels[::4, 2] = np.nan
    return Inputs(pixels, {"age": rng.normal(50, 20, (96, 4)).astype(np.float32)}, labels)
