"""Memory for images: how much one may take, how much all threads may, and what a shortage is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from cxrbench.errors import CxrbenchError, DataError, OutOfMemory, UnreadableImage

MIN_SIDE = 16
"""Sides below this many pixels are no radiograph (a 1x1 placeholder, an icon)."""

GREY_BYTES = 4
"""What a grey pixel takes at most: an image may take so many bytes for each of ``max_pixels``."""

_FILES = (errno.EMFILE, errno.ENFILE)


def check_size(width: int, height: int, max_pixels: int, pixel_bytes: int = GREY_BYTES) -> None:
    """Raise `UnreadableImage` for sides that are too small, or for too many pixels or bytes.

    ``pixel_bytes`` is what its decoder needs for a pixel.
    """
    if min(width, height) < MIN_SIDE:
        raise UnreadableImage(f"{width}x{height} pixels: a side is under {MIN_SIDE}")
    if width * height > max_pixels:
        raise UnreadableImage(f"{width}x{height} pixels: more than the limit of {max_pixels}")
    if width * height * pixel_bytes > max_pixels * GREY_BYTES:
        raise UnreadableImage(
            f"{width}x{height} pixels of {pixel_bytes} bytes while decoding: more than the "
            f"limit of {max_pixels} grey pixels of {GREY_BYTES} bytes"
        )


_MOST_PIXEL_BYTES = 8
_BYTES_BESIDE_PIXELS = 2**25


def check_length(length: int, width: int, height: int) -> None:
    """Raise `UnreadableImage` for a file far larger than its own pixels in 16-bit RGBA.

    Millions of small parts beside a few pixels would take minutes to step over.
    """
    if length > width * height * _MOST_PIXEL_BYTES + _BYTES_BESIDE_PIXELS:
        raise UnreadableImage(f"a file of {length} bytes for {width}x{height} pixels")


class MemoryBudget:
    """Bytes that threads share: who wants more than what is left waits for the others."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold so many bytes; more than there are at all means: alone."""
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size <= self._size)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


DECODING = MemoryBudget(2**30)
"""For the decoders of this process, however many threads it has."""


def is_shortage(error: BaseException) -> bool:
    """Whether the machine lacks memory or file handles: no property of an image."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOMEM, *_FILES)
    if isinstance(error, ImportError):  # the loader of libraries has no error of its own for it
        return any(text in str(error) for text in ("failed to map segment", "allocate memory"))
    # OpenCV has an exception of its own; -4 is its code for want of memory.
    opencv = type(error).__module__ == "cv2" and getattr(error, "code", None) == -4
    return isinstance(error, MemoryError) or opencv


def require_memory(size: int) -> None:
    """Raise MemoryError unless so many bytes can be had now.

    Decoders in C report a failed allocation as damage. Whether it was one shows here.
    """
    import numpy as np

    np.empty(size, np.uint8)


@contextmanager
def telling_shortage(image: str) -> Iterator[None]:
    """Turn a shortage into an error for the user: ``image`` is not at fault, so nothing is kept.

    Raises
    ------
    OutOfMemory : the memory is too small.
    DataError : too many files are open.
    """
    try:
        yield
    except CxrbenchError:
        raise
    except Exception as error:
        if not is_shortage(error):
            raise
        if isinstance(error, OSError) and error.errno in _FILES:
            raise DataError(
                f"image {image!r} cannot be read: too many files are open",
                expected="file handles that are free",
                found=error.strerror or str(error),
                fix="raise the limit (ulimit -n 4096), close other programs, and run the same "
                "command again; completed work is kept",
            ) from error
        raise OutOfMemory(
            f"the memory ran out while image {image!r} was read",
            found=" ".join(str(error).split()) or type(error).__name__,
            fix="use fewer --threads or a smaller --max-pixels, close other programs, and run the "
            "same command again; completed work is kept",
        ) from error
