"""EfficientNetB0 and EfficientNetV2-B0 (Tan and Le, ICML 2019 and ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from cxrbench import Backbone, hookimpl

if TYPE_CHECKING:
    import keras

CXRBENCH_API = 1

# Of ImageNet's channels, red first, in grey levels: how the published weights were trained.
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)  # of white: Keras' network divides by 255 itself


@dataclass(frozen=True)
class EfficientNetB0(Backbone):
    """Keras' EfficientNetB0 without its top; a grey image fills all three channels.

    References
    ----------
    Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019.
    """

    name: ClassVar[str] = "efficientnetb0"
    aliases: ClassVar[tuple[str, ...]] = ("efficientnet",)
    image_size: ClassVar[int] = 224
    freeze_at: ClassVar[str] = "block6a_expand_conv"  # the stage of stride 32

    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Grey (N, H, W, 1) in [0, 255] to a map (N, H/32, W/32, 1280)."""
        import keras

        make = partial(
            keras.applications.EfficientNetB0,
            input_shape=(image_size, image_size, 3),
            include_top=False,
        )
        grey = keras.Input((image_size, image_size, 1), name="grey")
        colour = keras.layers.Concatenate(name="grey_to_rgb")([grey, grey, grey])
        standardised = keras.layers.Normalization(
            mean=_IMAGENET_MEAN,
            variance=[deviation**2 for deviation in _IMAGENET_DEVIATION],
            name="imagenet_statistics",
        )(colour)
        network = make(weights=None, input_tensor=standardised)
        for layer in make(weights=weights).layers if weights else ():
            # Keras' own normalisation stays neutral. The published file has deviations where it
            # takes variances, which Keras makes good by one layer more for weights="imagenet",
            # and only then: a network rebuilt without that word would see other images.
            if layer.weights and not isinstance(layer, keras.layers.Normalization):
                network.get_layer(layer.name).set_weights(layer.get_weights())
        return keras.Model(grey, network.output, name=self.name)


@dataclass(frozen=True)
class EfficientNetV2B0(Backbone):
    """Keras' EfficientNetV2B0 without its top; a grey image fills all three channels.

    Keras' network has the preprocessing of its ImageNet weights in it.

    References
    ----------
    Tan and Le, EfficientNetV2: Smaller Models and Faster Training, ICML 2021.
    """

    name: ClassVar[str] = "efficientnetv2b0"
    aliases: ClassVar[tuple[str, ...]] = ("efficientnetv2",)
    image_size: ClassVar[int] = 224
    freeze_at: ClassVar[str] = "block6a_expand_conv"  # the stage of stride 32

    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Grey (N, H, W, 1) in [0, 255] to a map (N, H/32, W/32, 1280)."""
        import keras

        grey = keras.Input((image_size, image_size, 1), name="grey")
        colour = keras.layers.Concatenate(name="grey_to_rgb")([grey, grey, grey])
        network = keras.applications.EfficientNetV2B0(
            input_shape=(image_size, image_size, 3),
            include_top=False,
            weights=weights,
            input_tensor=colour,
        )
        return keras.Model(grey, network.output, name=self.name)


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """Both networks."""
    return [EfficientNetB0, EfficientNetV2B0]
