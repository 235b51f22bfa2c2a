"""Checks of single images, and the data that one pass over the images gathers for all checks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.checks.finding import Finding, Item, finding
from cxrbench.checks.likeness import DETAIL_SIDE, HASH_BYTES, film_detail, film_hash
from cxrbench.store.decoding import open_image
from cxrbench.store.grey import in_bands
from cxrbench.store.image_pass import (
    Preparation,
    PreparedImage,
    in_order,
    prepare_source,
    quiet_single_threaded_libraries,
)
from cxrbench.store.limits import telling_shortage
from cxrbench.store.sources import read_source

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from cxrbench.interfaces import Cohort, Dataset, Display


_SIDE = 128  # of the measured image: findings do not matter here
_GREY_MODES = ("L", "1", "I", "F", "LA")
_COLOURED = 24  # grey levels between a pixel's channels; JPEG's chroma stays below
_COLOURED_SHARE = 0.001  # of the pixels; a small coloured mark is enough


@dataclass(frozen=True)
class File:
    """An image as it is stored.

    ``digest`` is SHA-256 of its content, ``""`` if it could not be read, and ``reason`` says why it
    cannot be used. ``kind`` is its format and Pillow's mode, such as ``PNG L``, or the array's type
    where the dataset decodes by itself (``is_array``). ``width`` and ``height`` are by its header,
    0 where that is damaged; ``size`` is in bytes.
    """

    digest: str
    reason: str | None
    kind: str
    width: int
    height: int
    size: int
    coloured: bool
    is_array: bool = False


@dataclass(frozen=True, eq=False)
class ImageScan:
    """The images that were read; ``rows`` (n,) are the cohort's.

    ``usable`` (n,) bool: they can be decoded. ``spread`` (n,) float32 is the standard deviation of
    the grey levels, ``upright`` and ``turned`` (n,) float32 the likeness of the image, as it is and
    rotated by 180 degrees, to a usual one. ``hashes`` (n, 32) uint8 and ``details`` (n, 1024) int8
    compare two images. All are 0 for images that are not usable.
    """

    rows: np.ndarray
    files: tuple[File, ...]
    usable: np.ndarray
    spread: np.ndarray
    upright: np.ndarray
    turned: np.ndarray
    hashes: np.ndarray
    details: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def look_at_films(
    dataset: Dataset,
    cohort: Cohort,
    rows: np.ndarray,
    *,
    max_pixels: int,
    threads: int,
    display: Display,
) -> ImageScan:
    """Read each of these rows' images once.

    Raises
    ------
    PluginError : the dataset failed to read an image, or read something else.
    """
    count = len(rows)
    usable = np.zeros(count, bool)
    spread, upright, turned = np.zeros((3, count), np.float32)
    hashes = np.zeros((count, HASH_BYTES), np.uint8)
    details = np.zeros((count, DETAIL_SIDE**2), np.int8)
    files = []
    with ExitStack() as stack:
        stack.enter_context(quiet_single_threaded_libraries())
        advance = stack.enter_context(display.task("looking at images", count))
        look = partial(_look_at, dataset, cohort, max_pixels)
        seen = stack.enter_context(closing(in_order(look, rows.tolist(), threads)))
        for place, (file, film) in enumerate(seen):
            files.append(file)
            if film is not None:
                usable[place] = True
                spread[place], upright[place] = film.spread, film.upright
                turned[place] = film.turned
                hashes[place], details[place] = film.hash, film.detail
            advance()
    return ImageScan(rows, tuple(files), usable, spread, upright, turned, hashes, details)


@dataclass(frozen=True, eq=False)
class _Film:
    spread: float
    upright: float
    turned: float
    hash: np.ndarray
    detail: np.ndarray


def _look_at(
    dataset: Dataset, cohort: Cohort, max_pixels: int, row: int
) -> tuple[File, _Film | None]:
    sources: list[bytes | np.ndarray] = []

    def read() -> bytes | np.ndarray:
        source = read_source(dataset, cohort.sources[row], cohort.image_ids[row], max_pixels)
        sources.append(source)
        return source

    preparation = Preparation(image_sizes=(_SIDE,), max_pixels=max_pixels)
    image = prepare_source(read, cohort.record(row), preparation)
    with telling_shortage(cohort.image_ids[row]):
        file = _file(sources, image)
    if image.reason is not None:
        return file, None
    pixels = image.pixels[_SIDE]
    return file, _Film(
        float(pixels.std()),
        upright_score(pixels),
        upright_score(np.rot90(pixels, 2)),
        film_hash(pixels),
        film_detail(pixels),
    )


def _file(sources: list[bytes | np.ndarray], image: PreparedImage) -> File:
    if not sources:
        return File(image.digest, image.reason, "no file", 0, 0, 0, False)
    source = sources[0]
    if isinstance(source, np.ndarray):
        height, width = source.shape
        kind = f"{source.dtype} pixels"
        return File(image.digest, image.reason, kind, width, height, source.nbytes, False, True)
    try:
        with open_image(source) as opened:
            kind = f"{opened.format} {opened.mode}"
            width, height = opened.size
            coloured = image.reason is None and _is_coloured(opened)
    except MemoryError:
        raise
    except Exception:  # parsers of hostile files raise nearly anything; ``reason`` says what it is
        kind, width, height, coloured = "not an image", 0, 0, False
    return File(image.digest, image.reason, kind, width, height, len(source), coloured)


def _is_coloured(image: ImageFile) -> bool:
    """More than a few pixels whose channels differ; grey stored as RGB is not in colour."""
    if image.mode.startswith(_GREY_MODES):
        return False

    def coloured(top: int, end: int) -> np.ndarray:
        band = np.asarray(image.crop((0, top, image.width, end)).convert("RGB"))
        return band.max(axis=2).astype(np.int16) - band.min(axis=2) > _COLOURED

    return bool(in_bands(coloured, image.height).mean() > _COLOURED_SHARE)


# The mean of nih-mini's 640 frontal films (480 patients) at 8 x 8, centred, scaled to length 100:
# dark corners above the shoulders, a white spine, white below the diaphragm.
_USUAL = np.array(
    [
        [-27, -23, -17, 0, 1, -15, -22, -26],
        [-6, -2, -8, -3, -1, -9, -2, -5],
        [3, 2, -14, -4, 0, -15, 0, 3],
        [0, 1, -12, 2, 7, -11, -1, 0],
        [-5, 1, -6, 9, 14, -1, -1, -5],
        [-9, 4, 6, 16, 19, 9, 2, -8],
        [-12, 9, 18, 22, 22, 16, 7, -12],
        [-14, 12, 22, 25, 25, 20, 10, -14],
    ],
    np.float32,
)


def upright_score(image: np.ndarray) -> float:
    """Correlation (-1 to 1) of a film (H, W) uint8 with the usual distribution of light.

    A negative has exactly the opposite. Of nih-mini's 640 films none is below 0 (the least is 0.20)
    when the usual one is taken from other patients, so that none of their negatives is above; nor
    is any of 260 films of the phantom. 0 for an image that is all the same.
    """
    import cv2

    cells = cv2.resize(image, _USUAL.shape, interpolation=cv2.INTER_AREA).astype(np.float32)
    cells -= cells.mean()
    usual = _USUAL - _USUAL.mean()
    size = np.linalg.norm(cells) * np.linalg.norm(usual)
    return float((cells * usual).sum() / size) if size else 0.0


TINY_SIDE = 128
"""Pixels; about half of what backbones see, so most of the detail would be interpolated."""

CONSTANT_SPREAD = 2.0
"""Standard deviation in grey levels; the least of nih-mini's films has 28."""


def check_images(cohort: Cohort, films: ImageScan) -> tuple[Finding, ...]:
    """All faults of single images."""

    def flagged(check: str, mask: np.ndarray, detail: Callable[[int], str]) -> tuple[Finding, ...]:
        places = np.flatnonzero(mask).tolist()
        ids = [cohort.image_ids[films.rows[place]] for place in places]
        items = (Item((name,), detail(at)) for name, at in zip(ids, places, strict=True))
        return finding(check, items)

    files, shows = films.files, shows_something(films)
    tiny = [0 < min(file.width, file.height) < TINY_SIDE for file in files]
    coloured = [file.coloured for file in files]
    return (
        *flagged("unreadable", ~films.usable, lambda at: str(files[at].reason)),
        *flagged("tiny", np.array(tiny, bool), lambda at: f"{files[at].width}×{files[at].height}"),
        *flagged("constant", films.usable & ~shows, lambda at: _spread(films, at)),
        *flagged("inverted", shows & (films.upright < 0), lambda at: _inverted(films, at)),
        *flagged("colour", np.array(coloured, bool), lambda at: files[at].kind),
    )


def shows_something(films: ImageScan) -> np.ndarray:
    """(n,) bool: the image can be used and is not all the same."""
    shows: np.ndarray = films.usable & (films.spread >= CONSTANT_SPREAD)
    return shows


def _inverted(films: ImageScan, at: int) -> str:
    """A negative has the opposite of its likeness; an image upside down has it when turned."""
    upright, turned = films.upright[at], films.turned[at]
    looks = "upside down" if turned > -upright else "a negative"
    return f"{looks}: likeness {upright:.2f}, rotated by 180° {turned:.2f}"


def _spread(films: ImageScan, at: int) -> str:
    return f"standard deviation of {films.spread[at]:.1f} grey levels"


def check_share(cohort: Cohort, films: ImageScan | None, max_bad: float) -> tuple[Finding, ...]:
    """Whether so many images are unreadable, or have no file, that a run stops: over ``max_bad``.

    ``films`` may be a sample of the cohort, or None where no image was read.
    """
    absent = cohort.absent
    bad, seen = (0, len(cohort)) if films is None else (int((~films.usable).sum()), len(films))
    if not bad + absent:
        return ()
    share = (bad / seen * len(cohort) + absent) / (len(cohort) + absent)
    if share <= max_bad and bad < seen:
        return ()
    parts = []
    if bad:
        parts.append(f"{bad:,} of {seen:,} images are unreadable")
    if absent:
        parts.append(f"{absent:,} of {len(cohort) + absent:,} rows have no file")
    text = f"{' and '.join(parts)}, more than --max-bad {max_bad:.3g}"
    return finding("too-many-unreadable", [Item((), text)], f"a run would stop: {text}")
