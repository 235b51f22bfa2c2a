"""Grad-CAM and Grad-CAM++ over the cut between trunk and top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxrbench.modeling.assemble import Network
from cxrbench.modeling.backend import load_keras, value_and_gradient


def logits_and_gradients(
    network: Network, maps: np.ndarray, features: Mapping[str, np.ndarray], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One label's logit of each image, (N,), and its gradient at the feature map, (N, h, w, C).

    Parameters
    ----------
    maps : (N, h, w, C) float32, the output of the trunk.
    features : for each feature of the recipe its vectors (N, D) float32, not standardised.
    labels : (N,) int, the place of the label of each image.
    """
    keras = load_keras()
    places = keras.ops.one_hot(labels, network.top.output_shape[-1])
    vectors = {name: keras.ops.convert_to_tensor(array) for name, array in features.items()}

    def logits(point: Any) -> Any:
        crossing = keras.ops.mean(point, axis=(1, 2)) if network.pools else point
        output = network.top({**vectors, "image": crossing}, training=False)
        return keras.ops.sum(output * places, axis=1)

    return value_and_gradient(logits, maps)


def gradcam(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM, (N, h, w) float32, not negative: channels weighted by their mean gradient.

    ``maps`` and ``gradients`` are (N, h, w, C).

    References
    ----------
    Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based
    localization, ICCV 2017, equations 1 and 2.
    """
    weights = gradients.mean(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", maps, weights), 0)


def gradcam_plus_plus(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM++, (N, h, w) float32, not negative: places with a positive gradient weigh more.

    The score is the exponential of the logit, as in the paper, so that higher derivatives are
    powers of the gradient. The factor exp(logit), the same for all of a map, is left out.

    References
    ----------
    Chattopadhay et al., Grad-CAM++: generalized gradient-based visual explanations for deep
    convolutional networks, WACV 2018, equations 10 and 19.
    """
    squares = gradients**2
    below = 2 * squares + maps.sum(axis=(1, 2), keepdims=True) * squares * gradients
    alpha = np.divide(squares, below, out=np.zeros_like(squares), where=below != 0)
    weights = (alpha * np.maximum(gradients, 0)).sum(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", maps, weights), 0)
