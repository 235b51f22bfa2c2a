"""Paths of single images: decode, resize, CLAHE, a hand-crafted feature and its encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .path import MAX_PIXELS, HotPath, ImageSet, load

if TYPE_CHECKING:
    from cxrbench.recipe import Feature

_DECODED, _RESIZED, _EQUALISED = 2, 8, 2
_EXTRACTED, _ENCODED, _FITTED_ON = 1, 16, 4


def _decode(rest: str, films: ImageSet) -> HotPath:
    decode = load("decode")
    encoded = [films.encoded[number % len(films.encoded)] for number in range(_DECODED)]

    def call() -> None:
        for film in encoded:
            decode(film, max_pixels=MAX_PIXELS)

    return HotPath("decode", "prepare", _DECODED, call)


def _resize(rest: str, films: ImageSet) -> HotPath:
    fit_image = load("fit_image")
    grey = films.grey(_RESIZED)

    def call() -> None:
        for film in grey:
            fit_image(film, films.image_size, "stretch")

    return HotPath("resize", "prepare", _RESIZED, call)


def _clahe(rest: str, films: ImageSet) -> HotPath:
    clahe = load("clahe")
    grey = films.grey(_EQUALISED)

    def call() -> None:
        for film in grey:
            clahe(film)

    return HotPath("clahe", "prepare", _EQUALISED, call)


def _extract(part: str, films: ImageSet) -> HotPath:
    from cxrbench.interfaces import Record

    extractor = _feature(part).extractor
    pictures = _pictures(extractor, films, _EXTRACTED)
    record = Record("film", age=50.0, sex="F", view="PA")

    def call() -> None:
        for picture in pictures:
            extractor.extract(picture, record)

    return HotPath(f"extract/{part}", "prepare", _EXTRACTED, call)


def _encode(part: str, films: ImageSet) -> HotPath:
    feature = _feature(part)
    descriptors = _descriptors(feature.extractor, films)
    fitted = _fitted(feature, [feature.extractor.vectors(one) for one in descriptors])
    stored = [descriptors[number % len(descriptors)] for number in range(_ENCODED)]

    def call() -> None:
        for one in stored:
            fitted.transform(feature.extractor.vectors(one))

    return HotPath(f"encode/{part}", "encode", _ENCODED, call)


FAMILIES: Mapping[str, Callable[[str, ImageSet], HotPath]] = {
    "decode": _decode,
    "resize": _resize,
    "clahe": _clahe,
    "extract": _extract,
    "encode": _encode,
}


def _feature(part: str) -> Feature:
    from cxrbench.recipe import parse_recipe
    from cxrbench.registry import load_registry

    (feature,) = parse_recipe(part, load_registry()).features
    return feature


def _pictures(extractor: Any, films: ImageSet, count: int) -> list[np.ndarray | None]:
    if extractor.image_size is None:
        return [None] * count
    return list(films.fitted(count, extractor.image_size))


def _descriptors(extractor: Any, films: ImageSet) -> list[np.ndarray]:
    from cxrbench.interfaces import Record

    pictures = _pictures(extractor, films, _FITTED_ON)
    return [
        extractor.extract(one, Record(f"film {i}")).descriptors for i, one in enumerate(pictures)
    ]


def _fitted(feature: Feature, vectors: list[np.ndarray]) -> Any:
    """The encoder after its fit; a codebook of drawn descriptors in place of a fitted one.

    What encoding costs does not depend on where the words lie, and the fit imports scikit-learn,
    which takes longer than everything else here.
    """
    kind = type(feature.encoder).fitted
    words = getattr(feature.encoder, "words", None)
    if words is None or not hasattr(kind, "words_of"):
        return feature.encoder.fit(iter(vectors), distance=feature.extractor.distance, seed=0)
    together = np.concatenate(vectors)
    chosen = np.random.default_rng(0).choice(len(together), words, replace=len(together) < words)
    return kind.from_arrays({"words": together[chosen], "used": np.array(words)})
