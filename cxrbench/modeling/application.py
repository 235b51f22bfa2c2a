"""Networks of ``keras.applications`` as backbones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cxrbench.interfaces import Backbone

if TYPE_CHECKING:
    import keras

# Of ImageNet's channels in grey levels, red first.
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


class KerasApplication(Backbone):
    """A network of ``keras.applications`` without its top; a grey image fills all three channels.

    ``application`` is the network's name there, such as ``"DenseNet121"``. ``preprocessing`` is how
    its ImageNet weights were trained, with the modes of Keras' ``preprocess_input``: ``"caffe"``
    (channels in the order BGR, minus ImageNet's means), ``"torch"`` (standardised by ImageNet's
    means and standard deviations), ``"tf"`` (from -1 to 1), or None if Keras' network does its own
    preprocessing.
    """

    application: ClassVar[str]
    preprocessing: ClassVar[Literal["caffe", "torch", "tf"] | None] = None

    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Return a model from grey images (N, H, W, 1) in [0, 255] to the network's last map."""
        import keras

        grey = keras.Input((image_size, image_size, 1), name="grey")
        channels = "bgr" if self.preprocessing == "caffe" else "rgb"
        colour = keras.layers.Concatenate(name=f"grey_to_{channels}")([grey, grey, grey])
        network = self.network(self.preprocess(colour), weights)
        return keras.Model(grey, network.output, name=self.name)

    def preprocess(self, colour: Any) -> Any:
        """Return what the network expects of a tensor (N, H, W, 3) in [0, 255]."""
        from keras import layers

        match self.preprocessing:
            case "caffe":
                centre = layers.Normalization(
                    mean=_CAFFE_MEAN_BGR, variance=(1.0, 1.0, 1.0), name="imagenet_mean"
                )
                return centre(colour)
            case "torch":
                variance = [deviation**2 for deviation in _DEVIATION]
                standardise = layers.Normalization(
                    mean=_MEAN, variance=variance, name="imagenet_statistics"
                )
                return standardise(colour)
            case "tf":
                return layers.Rescaling(1 / 127.5, offset=-1.0, name="to_unit_range")(colour)
        return colour

    def network(self, image: Any, weights: str | None, **options: Any) -> keras.Model:
        """Return Keras' network on a preprocessed tensor; ``options`` are passed on to Keras."""
        import keras

        make = getattr(keras.applications, self.application)
        model: keras.Model = make(include_top=False, weights=weights, input_tensor=image, **options)
        return model
