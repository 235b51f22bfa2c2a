"""ResNet50 (He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxrbench import Backbone, hookimpl

if TYPE_CHECKING:
    import keras

CXRBENCH_API = 1

# The means of ImageNet's channels, blue first: how the published weights were trained.
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class ResNet50(Backbone):
    """Keras' ResNet50 without its top; a grey image fills all three channels."""

    name: ClassVar[str] = "resnet50"
    aliases: ClassVar[tuple[str, ...]] = ("resnet",)
    image_size: ClassVar[int] = 224
    freeze_at: ClassVar[str] = "conv5_block1_1_conv"

    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Grey (N, H, W, 1) in [0, 255] to a map (N, H/32, W/32, 2048)."""
        import keras

        grey = keras.Input((image_size, image_size, 1), name="grey")
        colour = keras.layers.Concatenate(name="grey_to_bgr")([grey, grey, grey])
        centred = keras.layers.Normalization(
            mean=_IMAGENET_MEAN_BGR, variance=(1.0, 1.0, 1.0), name="imagenet_mean"
        )(colour)
        network = keras.applications.ResNet50(
            include_top=False, weights=weights, input_tensor=centred
        )
        return keras.Model(grey, network.output, name=self.name)


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    return [ResNet50]
