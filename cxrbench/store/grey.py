"""From pixels of any depth and colour to 8-bit grey, in bands of rows that bound the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cxrbench.errors import PluginError, UnreadableImage

_BAND = 256
_OUTSIDE = 0.005
_SAMPLE = 2**20


def to_grey8(pixels: np.ndarray) -> np.ndarray:
    """8-bit grey of pixels (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; see `decode` for the rules.

    Raises
    ------
    PluginError
        Another shape, or a type that holds no pixels.
    UnreadableImage
        Values that are not finite.
    """
    _require_pixels(pixels)
    if pixels.ndim == 3:
        pixels = in_bands(lambda top, end: grey_of_colour(pixels[top:end]), len(pixels))
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8:
        pixels = _scaled_to_8_bits(pixels)
    return np.ascontiguousarray(pixels)


def in_bands(grey: Callable[[int, int], np.ndarray], height: int) -> np.ndarray:
    """What ``grey`` makes of each band of rows, so that only a band is held in colour."""
    return np.concatenate([grey(y, min(y + _BAND, height)) for y in range(0, height, _BAND)])


def _require_pixels(pixels: np.ndarray) -> None:
    channels_fit = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not channels_fit or pixels.dtype.kind not in "buif":
        raise PluginError(
            "these are not the pixels of an image",
            expected="an array (H, W) uint8 or uint16 grey",
            found=f"{pixels.shape} {pixels.dtype}",
        )


def grey_of_colour(pixels: np.ndarray) -> np.ndarray:
    """Luminance (H, W) of RGB or RGBA (H, W, 3 or 4), over black, in the same dtype."""
    import cv2

    grey: np.ndarray = cv2.cvtColor(np.ascontiguousarray(pixels[:, :, :3]), cv2.COLOR_RGB2GRAY)
    if pixels.shape[2] == 3:
        return grey
    opaque: Any = np.iinfo(pixels.dtype).max
    alpha = pixels[:, :, 3]
    if (alpha == opaque).all():
        return grey
    composite: np.ndarray = np.rint(grey * (alpha / opaque)).astype(pixels.dtype)
    return composite


def grey_range(pixels: np.ndarray) -> tuple[float, float]:
    """The values (low, high) of deep pixels that become black and white.

    They are the minimum and the maximum, unless these are far outside: if all but 0.5 % of the
    pixels at each end lie within a quarter of that range (a burnt-in marker of full white in an
    image of 12 bits, for example), low and high are at most a tenth of their span beyond them.
    """
    low, high = float(pixels.min()), float(pixels.max())
    sample = pixels.reshape(-1)[:: max(1, pixels.size // _SAMPLE)]
    bounds = np.quantile(sample, (_OUTSIDE, 1 - _OUTSIDE), method="nearest")
    first, last = map(float, bounds)
    span = last - first
    if span > 0 and high - low > 4 * span:
        return max(low, first - span / 10), min(high, last + span / 10)
    return low, high


def _scaled_to_8_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels.sum(dtype=np.float64)):
        raise UnreadableImage("has pixel values that are not finite")
    low, high = grey_range(pixels)
    if low == high:
        return np.zeros(pixels.shape, np.uint8)

    def scaled(values: np.ndarray) -> np.ndarray:
        shares = (np.clip(values.astype(np.float64), low, high) - low) * (255.0 / (high - low))
        return np.rint(shares).astype(np.uint8)

    if pixels.dtype == np.uint16:
        result: np.ndarray = scaled(np.arange(2**16))[pixels]
        return result
    return in_bands(lambda top, end: scaled(pixels[top:end]), len(pixels))
