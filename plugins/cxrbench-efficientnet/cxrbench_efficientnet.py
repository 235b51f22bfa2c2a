"""EfficientNetB0 and EfficientNetV2-B0 (Tan and Le, ICML 2019 and ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrbench import Backbone, KerasApplication, hookimpl

if TYPE_CHECKING:
    import keras

CXRBENCH_API = 1

# Of ImageNet's channels, red first, in grey levels: how the published weights were trained.
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)  # of white: Keras' network divides by 255 itself


@dataclass(frozen=True)
class EfficientNetB0(KerasApplication):
    """Keras' EfficientNetB0 without its top; a grey image fills all three channels.

    References
    ----------
    Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019.
    """

    name = "efficientnetb0"
    aliases = ("efficientnet",)
    image_size = 224
    freeze_at = "block6a_expand_conv"  # the stage of stride 32
    application = "EfficientNetB0"

    def preprocess(self, colour: Any) -> Any:
        """Standardise by ImageNet's means and standard deviations."""
        from keras import layers

        standardise = layers.Normalization(
            mean=_IMAGENET_MEAN,
            variance=[deviation**2 for deviation in _IMAGENET_DEVIATION],
            name="imagenet_statistics",
        )
        return standardise(colour)

    def network(self, image: Any, weights: str | None, **options: Any) -> keras.Model:
        """Return Keras' network with all weights but those of its normalisation.

        Keras' own normalisation stays neutral. The published file has deviations where Keras
        expects variances. Keras corrects this with one more layer for ``weights="imagenet"`` only,
        so a network that is rebuilt without that word would see other images.
        """
        import keras

        model = super().network(image, None, **options)
        if weights is not None:
            published = super().network(keras.Input(image.shape[1:]), weights, **options)
            for layer in published.layers:
                if layer.weights and not isinstance(layer, keras.layers.Normalization):
                    model.get_layer(layer.name).set_weights(layer.get_weights())
        return model


@dataclass(frozen=True)
class EfficientNetV2B0(KerasApplication):
    """Keras' EfficientNetV2B0 without its top; a grey image fills all three channels.

    Keras' network has the preprocessing of its ImageNet weights in it.

    References
    ----------
    Tan and Le, EfficientNetV2: Smaller Models and Faster Training, ICML 2021.
    """

    name = "efficientnetv2b0"
    aliases = ("efficientnetv2",)
    image_size = 224
    freeze_at = "block6a_expand_conv"  # the stage of stride 32
    application = "EfficientNetV2B0"


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """Both networks."""
    return [EfficientNetB0, EfficientNetV2B0]
