"""A plugin with a backbone that trains in seconds; what the tests of modeling/ use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cxrbench import Backbone, hookimpl

CXRBENCH_API = 1


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


@hookimpl
def cxrbench_backbones():
    return [SmallCNN]
