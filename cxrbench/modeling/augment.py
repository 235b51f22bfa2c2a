"""Augmentation of training images inside the training step: pose, exposure, noise and CLAHE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Both are also imported from here, by comparisons of revisions too.
from cxrbench.modeling.augmentation import MEDICAL as MEDICAL
from cxrbench.modeling.augmentation import Augmentation as Augmentation

PARAMETERS = ("rotation", "right", "down", "zoom", "contrast", "brightness", "noise", "key")
"""The columns of `Draws.parameters`; if all but the key are zero, the image does not change."""

# Separates these draws from the order of the images, which (seed, epoch) alone decides.
_STREAM = 0xA06
# Float32 holds every whole number up to this, so a key survives among the parameters.
_KEYS = 2**24


@dataclass(frozen=True, eq=False)
class Draws:
    """The random values for every row of a cohort.

    ``parameters`` (N, P) float32 are for `augment`, with the columns `PARAMETERS`: degrees
    counter-clockwise; shifts right and down as shares of the side; the amounts that zoom and
    contrast add to a factor of 1; brightness and the noise's standard deviation as shares of 255;
    and a whole number that seeds the noise. ``clahe`` (N,) bool says which images get CLAHE.
    """

    parameters: np.ndarray
    clahe: np.ndarray


def draw(augmentation: Augmentation, *, seed: int, epoch: int, images: int) -> Draws:
    """Draw the parameters of the rows 0 to ``images`` - 1 in one epoch.

    Each value depends only on (seed, epoch, row) and its own option, not on the number of rows or
    on other options.
    """
    shift = augmentation.translation
    largest = np.array(
        [
            *(augmentation.rotation, shift, shift, augmentation.zoom),
            *(augmentation.contrast, augmentation.brightness),
        ],
        np.float32,
    )
    stream = np.random.SeedSequence((seed, epoch), spawn_key=(_STREAM,))
    # Filled row by row, so a longer cohort begins with the same rows.
    uniform = np.random.default_rng(stream).random((images, len(PARAMETERS) + 1), np.float32)
    parameters = np.empty((images, len(PARAMETERS)), np.float32)
    parameters[:, :6] = (2 * uniform[:, :6] - 1) * largest
    parameters[:, 6] = uniform[:, 6] * np.float32(augmentation.noise)
    parameters[:, 7] = np.floor(uniform[:, 7] * _KEYS)
    return Draws(parameters, uniform[:, 8] < augmentation.clahe)


def augment(images: Any, parameters: Any) -> Any:
    """Move images, then change their exposure, then add noise, with the backend's operations.

    Parameters
    ----------
    images : (N, S, S, 1) float32 grey levels in [0, 255].
    parameters : (N, P) float32, see `Draws`.

    Returns
    -------
    (N, S, S, 1) float32, clipped to [0, 255]. If all parameters but the key are zero, the image is
    the same to the last bit.
    """
    from keras import ops

    amount = dict(zip(PARAMETERS, ops.split(parameters, len(PARAMETERS), axis=1), strict=True))
    pixels = _warp(ops.squeeze(images, -1), amount)
    mean = ops.mean(pixels, axis=(1, 2))[:, None]
    offset = 255.0 * amount["brightness"] - mean * amount["contrast"]
    pixels = pixels * (1.0 + amount["contrast"])[:, None] + offset[:, None]
    noise = _gaussian(amount["key"], images.shape[1])
    pixels = pixels + (255.0 * amount["noise"])[:, None] * noise
    return ops.clip(pixels, 0.0, 255.0)[..., None]


def _warp(pixels: Any, amount: dict[str, Any]) -> Any:
    """(N, S, S) zoomed and rotated about the centre, then shifted: one bilinear interpolation.

    Like ``cv2.warpAffine`` with ``BORDER_CONSTANT``: the outside is black, and the edge is blended
    with it. Keras' own `affine_transform` does not compile under TensorFlow's XLA.
    """
    from keras import ops

    side = pixels.shape[1]
    centre = (side - 1) / 2
    place = ops.convert_to_tensor(np.arange(side, dtype=np.float32) - np.float32(centre))
    across, down = place - amount["right"] * side, place - amount["down"] * side
    angle, scale = amount["rotation"] * (np.pi / 180), 1.0 / (1.0 + amount["zoom"])
    cos, sin = ops.cos(angle) * scale, ops.sin(angle) * scale
    # The origin of each pixel of the result: each coordinate is a sum of one term per axis.
    x = (cos * across + centre)[:, None, :] - (sin * down)[:, :, None]
    y = (sin * across + centre)[:, None, :] + (cos * down)[:, :, None]
    x, y = ops.clip(x, -1.0, side), ops.clip(y, -1.0, side)
    left, top = ops.floor(x), ops.floor(y)
    # Black around: one pixel before, and two after, for the neighbour of a place at ``side``.
    width = side + 3
    padded = ops.reshape(ops.pad(pixels, ((0, 0), (1, 2), (1, 2))), (-1, width * width))
    first = (ops.cast(top, "int32") + 1) * width + ops.cast(left, "int32") + 1

    def neighbour(offset: int) -> Any:
        flat = ops.reshape(first + offset, (-1, side * side))
        return ops.reshape(ops.take_along_axis(padded, flat, axis=1), (-1, side, side))

    def between(a: Any, b: Any, share: Any) -> Any:
        return a + (b - a) * share

    upper = between(neighbour(0), neighbour(1), x - left)
    lower = between(neighbour(width), neighbour(width + 1), x - left)
    return between(upper, lower, y - top)


def _gaussian(key: Any, side: int) -> Any:
    """(N, side, side) standard normal values that depend on (key, pixel) alone, on every backend.

    ``key`` is (N, 1), whole numbers. Hashed numbers in (-1, 1) go through the normal distribution's
    inverse: XLA has no fast cosine for Box and Muller's method on a CPU (24 ms of processor time
    for 32 images of 224 x 224 instead of 7).
    """
    from keras import ops

    pixel = ops.convert_to_tensor(np.arange(side * side, dtype=np.int32))
    # The pixel is hashed first, else two keys could give one field with its pixels shuffled.
    bits = _hash(_hash(pixel) + _hash(ops.cast(key, "int32")))
    uniform = (ops.cast(ops.right_shift(bits, np.int32(9)), "float32") + 0.5) / 2**22
    return ops.reshape(ops.erfinv(uniform) * 2**0.5, (-1, side, side))


def _hash(bits: Any) -> Any:
    """int32 to int32, one to one, every bit depending on every bit.

    C. Wellons, "Prospecting for hash functions", 2018 (lowbias32). In int32, since PyTorch has no
    arithmetic on uint32; the mask takes away the signs that its shifts bring in.
    """
    from keras import ops

    def fold(bits: Any, shift: int) -> Any:
        mask = np.int32(2 ** (32 - shift) - 1)
        return ops.bitwise_xor(bits, ops.bitwise_and(ops.right_shift(bits, np.int32(shift)), mask))

    bits = fold(bits, 16) * np.int32(0x7FEB352D)
    bits = fold(bits, 15) * np.int32(0x846CA68B - 2**32)
    return fold(bits, 16)
