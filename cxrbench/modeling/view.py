"""What a model sees of stored pixels: augmentation and scaling inside the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from cxrbench.modeling.augment import PARAMETERS, augment
from cxrbench.modeling.backend import load_keras


def training_view(model: Any, *, image_size: int | None, augmented: bool) -> Any:
    """The model as training feeds it: the same layers and variables, fed with stored pixels.

    Parameters
    ----------
    model : Functional, ``{"image": (S, S, 1) float32, NAME: (D,)}`` to logits.
    image_size : S, or None where what crosses as ``"image"`` is not pixels.
    augmented : whether batches bring parameters.

    Returns
    -------
    A model of ``{"image": (S, S) uint8, NAME: (D,)}`` and, if augmented, ``"augmentation"``: (P,)
    float32, to the same logits. The model itself, where it takes no pixels.
    """
    names = [tensor.name for tensor in model.inputs]
    if image_size is None or "image" not in names:
        return model
    keras = load_keras()
    inputs = {
        tensor.name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    }
    crossing = dict(inputs)
    inputs["image"] = keras.Input((image_size, image_size), dtype="uint8", name="image")
    taken = [inputs["image"]]
    if augmented:
        columns = len(PARAMETERS)
        inputs["augmentation"] = keras.Input((columns,), dtype="float32", name="augmentation")
        taken.append(inputs["augmentation"])
    # Keras is imported where a layer is made, not where settings are read.
    from cxrbench.modeling.view import Pixels

    crossing["image"] = Pixels(dtype="float32", name="pixels")(*taken)
    return keras.Model(inputs, model(crossing), name="training")


class Pixels(keras.layers.Layer):  # type: ignore[misc]
    """Stored pixels (N, S, S) uint8, and parameters if any, to (N, S, S, 1) float32.

    Made with ``dtype="float32"`` under any policy: bfloat16 holds neither a key nor a place in the
    picture.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._vary = _fused(augment)

    def call(self, image: Any, parameters: Any = None) -> Any:
        """Grey levels in [0, 255]."""
        pixels = keras.ops.cast(image, "float32")[..., None]
        if parameters is None:
            return pixels
        return keras.ops.stop_gradient(self._vary(pixels, parameters))

    def compute_output_spec(self, image: Any, parameters: Any = None) -> Any:
        """One channel more."""
        return keras.KerasTensor((*image.shape, 1), dtype="float32")


def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled into few loops where the step around it is not.

    TensorFlow's graphs write every operation's result to memory: of processor time, 32 images of
    224 x 224 took 240 ms instead of 37. JAX compiles the whole step anyway, PyTorch nothing.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    compiled: Callable[..., Any] = tf.function(function, jit_compile=True, autograph=False)
    return compiled
