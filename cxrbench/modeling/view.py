"""A model as it is fed: with stored pixels, and what augments them, in place of grey levels."""

from __future__ import annotations

from typing import Any

from cxrbench.modeling.augment import PARAMETERS
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
    from cxrbench.modeling.pixels import Pixels

    crossing["image"] = Pixels(dtype="float32", name="pixels")(*taken)
    return keras.Model(inputs, model(crossing), name="training")
