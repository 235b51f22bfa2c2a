"""DenseNet121 (Huang et al., *Densely Connected Convolutional Networks*, CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxrbench import Backbone, hookimpl

if TYPE_CHECKING:
    import keras

CXRBENCH_API = 1

# Of ImageNet's channels, red first, in grey levels: how the published weights were trained.
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_DEVIATION = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class DenseNet121(Backbone):
    """Keras' DenseNet121 without its top; a grey image fills all three channels.

    References
    ----------
    Rajpurkar et al., CheXNet: Radiologist-Level Pneumonia Detection on Chest X-Rays with Deep
    Learning, 2017, takes this backbone at 224 pixels.
    """

    name: ClassVar[str] = "densenet121"
    aliases: ClassVar[tuple[str, ...]] = ("densenet",)
    image_size: ClassVar[int] = 224
    freeze_at: ClassVar[str] = "conv5_block1_0_bn"

    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Grey (N, H, W, 1) in [0, 255] to a map (N, H/32, W/32, 1024)."""
        import keras

        grey = keras.Input((image_size, image_size, 1), name="grey")
        colour = keras.layers.Concatenate(name="grey_to_rgb")([grey, grey, grey])
        standardised = keras.layers.Normalization(
            mean=_IMAGENET_MEAN,
            variance=[deviation**2 for deviation in _IMAGENET_DEVIATION],
            name="imagenet_statistics",
        )(colour)
        network = keras.applications.DenseNet121(
            input_shape=(image_size, image_size, 3),
            include_top=False,
            weights=weights,
            input_tensor=standardised,
        )
        return keras.Model(grey, network.output, name=self.name)


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """DenseNet121 alone."""
    return [DenseNet121]
