"""Helpers of several checks: images and records, their features, and timing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cxrbench.builtin.phantom import Phantom
from cxrbench.errors import PluginError
from cxrbench.interfaces import FeatureExtractor, LocalFeatures, Record
from cxrbench.store.decoding import Fit
from cxrbench.store.image_pass import Preparation, prepare_source

_SIDE = 192


def films(count: int) -> list[np.ndarray]:
    """Drawn radiographs, each (192, 192) uint8."""
    phantom = Phantom(patients=max(20, count), size=_SIDE)
    sources = phantom.load().sources[:count]
    return [phantom.read(source, max_pixels=_SIDE**2) for source in sources]


def ugly_images() -> Mapping[str, np.ndarray]:
    """Images unlike any radiograph, by name: grey uint8 of several shapes."""
    rng = np.random.default_rng(0)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    return {
        "black": np.zeros((64, 64), np.uint8),
        "white": np.full((64, 64), 255, np.uint8),
        "all grey": np.full((64, 64), 128, np.uint8),
        "16 x 16 pixels": rng.integers(0, 256, (16, 16)).astype(np.uint8),
        "16 pixels high": rng.integers(0, 256, (16, 200)).astype(np.uint8),
        "16 pixels wide": rng.integers(0, 256, (200, 16)).astype(np.uint8),
        "a ramp": ramp,
        "a chessboard": board,
        "noise": rng.integers(0, 256, (96, 96)).astype(np.uint8),
        "one bright pixel": np.pad(np.full((1, 1), 255, np.uint8), 40),
    }


def record(number: int) -> Record:
    """A record that differs from number to number; some have only an id."""
    if number % 4 == 3:
        return Record(f"image{number}")
    return Record(
        f"image{number}", age=20.0 + number, sex="FM"[number % 2], view=("PA", "AP")[number % 3 > 0]
    )


FILMS = 6
"""The number of drawn radiographs that a feature is checked on."""


def extract(
    extractor: FeatureExtractor,
    image: np.ndarray,
    known: Record,
    *,
    fit: Fit = "stretch",
) -> LocalFeatures:
    """As a run does: the image fitted to the extractor's size, the features checked."""
    preparation = Preparation(extractors=(extractor,), fit=fit)
    return prepare_source(lambda: image, known, preparation).features[extractor]


def extract_all(
    extractor: FeatureExtractor,
    pictures: Sequence[np.ndarray],
    *,
    first_record: int = 0,
    step: int = 1,
) -> list[LocalFeatures]:
    """Features of each picture, whose records are numbered."""
    return [
        extract(extractor, image, record(first_record + step * number))
        for number, image in enumerate(pictures)
    ]


def vectors_of(
    extractor: FeatureExtractor, pictures: Sequence[np.ndarray], *, first_record: int = 0
) -> list[np.ndarray]:
    """The input of an encoder for each image, (n, d) float32."""
    results = extract_all(extractor, pictures, first_record=first_record)
    return [extractor.vectors(features.descriptors) for features in results]


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """How far two arrays are from each other, in words."""
    if one.shape != other.shape:
        return f"shapes {one.shape} and {other.shape}"
    worst = np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0)
    return f"a difference of up to {worst:.3g}"


LIMIT = 50
"""A part that takes this many times as long as the built-in one fails."""

_REPEATS = 3


def compare_speed(
    name: str,
    work: Callable[[], object],
    rival: str,
    rivals_work: Callable[[], object],
    images: int,
) -> str:
    """The time per image, and how it compares with the built-in part; fastest of three tries.

    Raises
    ------
    PluginError : it takes more than `LIMIT` times as long.
    """
    own, other = _fastest(work), _fastest(rivals_work)
    result = f"{1000 * own / images:.3g} ms per image, {own / other:.2g} times {rival}"
    if own > LIMIT * other:
        raise PluginError(
            f"{name} is too slow",
            expected=f"at most {LIMIT} times as long as the built-in {rival}: "
            f"{1000 * other / images:.3g} ms per image",
            found=result,
            fix="compute values that depend only on parameters once, not for each image, and use "
            "operations of NumPy, OpenCV or Keras instead of loops over pixels",
        )
    return result


def _fastest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
