"""The sources of images: read them, sign them, and see whether they are those of before."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.errors import PluginError, UnreadableImage, error_text
from cxrbench.interfaces import Dataset
from cxrbench.store.cache import canonical
from cxrbench.store.decoding import decode
from cxrbench.store.grey import to_grey8
from cxrbench.store.journal import NOT_READ
from cxrbench.store.limits import check_size, is_shortage, telling_shortage

if TYPE_CHECKING:
    from cxrbench.interfaces import Cohort


# An uncompressed pixel of 16-bit RGBA: no image that `decode` would take needs more.
_BYTES_PER_PIXEL = 8
_BYTES_BESIDE_PIXELS = 2**24


def require_file(path: Path, max_pixels: int) -> None:
    """Raise `UnreadableImage` for no ordinary file, or one larger than so many pixels need.

    Raises
    ------
    OSError
        There is no file, or the system does not tell.
    """
    try:
        status = path.stat()
    except ValueError as error:  # a path that no file can have
        raise UnreadableImage(f"{NOT_READ}{error}") from error
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device never ends
        raise UnreadableImage(f"{NOT_READ}not a file")
    if status.st_size > max_pixels * _BYTES_PER_PIXEL + _BYTES_BESIDE_PIXELS:
        raise UnreadableImage(
            f"a file of {status.st_size} bytes: more than any image of {max_pixels} pixels needs"
        )


def read_source(
    dataset: Dataset, source: str, image_id: str, max_pixels: int
) -> bytes | np.ndarray:
    """What the dataset reads: an encoded file's bytes, or grey pixels (H, W) uint8 or uint16.

    Raises
    ------
    UnreadableImage, OSError
        The dataset's own reason to leave the image out.
    PluginError
        The dataset failed, or returned what its interface does not allow.
    """
    try:
        if type(dataset).read is Dataset.read:
            require_file(Path(source), max_pixels)
        content = dataset.read(source, max_pixels=max_pixels)
    except (UnreadableImage, OSError, PluginError):
        raise
    except Exception as error:
        if is_shortage(error):
            raise
        raise PluginError(
            f"dataset {dataset.name!r} failed to read image {image_id!r}",
            found=error_text(error),
            fix="raise UnreadableImage for an image to exclude",
        ) from error
    grey = (
        isinstance(content, np.ndarray)
        and content.ndim == 2
        and content.dtype in (np.uint8, np.uint16)
    )
    if isinstance(content, bytes) or grey:
        return content
    raise PluginError(
        f"dataset {dataset.name!r} read image {image_id!r} as something other than an image",
        expected="bytes of an encoded file, or an array (H, W) uint8 or uint16",
        found=described(content),
        fix="return one of these from read(), or raise UnreadableImage",
    )


def digest_of_source(source: bytes | np.ndarray) -> str:
    """SHA-256 of an encoded file, or of grey pixels with their type and shape."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256(f"{source.dtype.str} {source.shape} ".encode())
    digest.update(np.ascontiguousarray(source).data)
    return digest.hexdigest()


def grey_of(source: bytes | np.ndarray, max_pixels: int) -> np.ndarray:
    """8-bit grey (H, W) of an encoded file or of grey pixels.

    Raises
    ------
    UnreadableImage : it cannot be decoded, or its size is not one of a radiograph.
    """
    if isinstance(source, bytes):
        return decode(source, max_pixels=max_pixels)
    check_size(source.shape[1], source.shape[0], max_pixels)
    return to_grey8(source)


def reason_of(error: UnreadableImage | OSError) -> str:
    """Why an image cannot be read, in one line; without its path, so that reasons can be shared."""
    if isinstance(error, OSError):
        return f"{NOT_READ}{error.strerror or error}"
    return str(error).splitlines()[0]


def signatures(dataset: Dataset, pairs: list[tuple[str, str]]) -> bytes:
    """The signatures of images (id, source), as text to compute a digest of.

    Raises
    ------
    OutOfMemory, DataError
        The machine lacks memory or file handles.
    """
    return b"".join(
        canonical([image_id, _signature(dataset, image_id, source)]).encode()
        for image_id, source in pairs
    )


def _signature(dataset: Dataset, image_id: str, source: str) -> str:
    with telling_shortage(image_id):
        try:
            return dataset.signature(source)
        except (OSError, UnreadableImage) as error:
            if is_shortage(error):
                raise
            return "cannot be read"


def can_be_read(dataset: Dataset, cohort: Cohort, row: int, max_pixels: int) -> bool:
    """Whether the system gives the image's source now, whatever is in it.

    Raises
    ------
    PluginError
        The dataset failed, or returned what its interface does not allow.
    OutOfMemory, DataError
        The machine lacks memory or file handles.
    """
    with telling_shortage(cohort.image_ids[row]):
        try:
            read_source(dataset, cohort.sources[row], cohort.image_ids[row], max_pixels)
        except UnreadableImage:
            return True
        except OSError as error:
            if is_shortage(error):
                raise
            return False
    return True


def is_the_same(
    dataset: Dataset, cohort: Cohort, max_pixels: int, digests: Sequence[bytes], row: int
) -> bool:
    """Whether the image in this row still has its digest; True where it cannot be read now.

    Raises
    ------
    PluginError
        The dataset failed, or returned what its interface does not allow.
    OutOfMemory, DataError
        The machine lacks memory or file handles.
    """
    image_id = cohort.image_ids[row]
    with telling_shortage(image_id):
        try:
            source = read_source(dataset, cohort.sources[row], image_id, max_pixels)
        except UnreadableImage:
            return False
        except OSError as error:
            if is_shortage(error):
                raise
            return True
        return digest_of_source(source).encode() == digests[row]


def described(value: object) -> str:
    """What kind of value it is, for messages."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} {value.dtype}"
    return f"a {type(value).__name__}"
