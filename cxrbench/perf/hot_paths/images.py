"""Paths of one image's pixels: decode, resize, CLAHE."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .homes import load
from .path import MAX_PIXELS, Films, HotPath

_DECODED, _RESIZED, _EQUALISED = 2, 8, 2


def _decode(rest: str, films: Films) -> HotPath:
    decode = load("decode")
    encoded = [films.encoded[number % len(films.encoded)] for number in range(_DECODED)]

    def call() -> None:
        for film in encoded:
            decode(film, max_pixels=MAX_PIXELS)

    return HotPath("decode", "prepare", _DECODED, call)


def _resize(rest: str, films: Films) -> HotPath:
    fit_image = load("fit_image")
    grey = films.grey(_RESIZED)

    def call() -> None:
        for film in grey:
            fit_image(film, films.image_size, "stretch")

    return HotPath("resize", "prepare", _RESIZED, call)


def _clahe(rest: str, films: Films) -> HotPath:
    clahe = load("clahe")
    grey = films.grey(_EQUALISED)

    def call() -> None:
        for film in grey:
            clahe(film)

    return HotPath("clahe", "prepare", _EQUALISED, call)


FAMILIES: Mapping[str, Callable[[str, Films], HotPath]] = {
    "decode": _decode,
    "resize": _resize,
    "clahe": _clahe,
}
