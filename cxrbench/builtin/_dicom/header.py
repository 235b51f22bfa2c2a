"""The header of a DICOM file, parsed so that no length in it makes us allocate blindly."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from cxrbench import UnreadableImage

if TYPE_CHECKING:
    import numpy as np
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag


IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)

RLE = "1.2.840.10008.1.2.5"

_JPEG = "1.2.840.10008.1.2.4."
PLUGINS = MappingProxyType(
    {
        f"{_JPEG}50": "pillow",  # JPEG baseline
        f"{_JPEG}90": "pylibjpeg",  # JPEG 2000
        f"{_JPEG}91": "pylibjpeg",
        f"{_JPEG}201": "pylibjpeg",  # high-throughput JPEG 2000
        f"{_JPEG}202": "pylibjpeg",
        f"{_JPEG}203": "pylibjpeg",
        RLE: "pydicom",
    }
)
"""What pydicom decodes, by its name of the decoder."""

CODECS = MappingProxyType(
    {
        f"{_JPEG}51": "jpeg8_decode",  # JPEG extended, up to 12 bits
        f"{_JPEG}57": "jpeg8_decode",  # JPEG lossless
        f"{_JPEG}70": "jpeg8_decode",  # the same with one predictor: the usual one in CR and DX
        f"{_JPEG}80": "jpegls_decode",
        f"{_JPEG}81": "jpegls_decode",
    }
)
"""What imagecodecs decodes, and by which function."""

INSTALL = 'pip install "cxrbench[dicom]"'


_IMPORTING = Lock()


def load_pydicom() -> None:
    """Import pydicom once, whichever thread comes first.

    Its modules import each other: two threads that begin with different ones would see them half
    imported.
    """
    with _IMPORTING:
        for name in ("filereader", "datadict", "uid", "multival", "encaps", "pixels"):
            import_module(f"pydicom.{name}")


def codec_function(uid: str) -> Callable[[bytes], np.ndarray]:
    """The function of imagecodecs that decodes this transfer syntax; it is imported here."""
    with _IMPORTING:
        codec: Callable[[bytes], np.ndarray] = getattr(import_module("imagecodecs"), CODECS[uid])
    return codec


def require_decoder(uid: str) -> None:
    """Raise `UnreadableImage` unless pixels in this transfer syntax can be read."""
    if uid in NATIVE:
        return
    if uid not in PLUGINS and uid not in CODECS:
        raise UnreadableImage(f"{_name(uid)} is a transfer syntax that is not supported")
    if not _is_installed(uid):
        raise UnreadableImage(f"the decoder of {_name(uid)} is not installed: {INSTALL}")


def _is_installed(uid: str) -> bool:
    if uid in CODECS:
        return find_spec("imagecodecs") is not None
    from pydicom.pixels import get_decoder

    return PLUGINS[uid] in get_decoder(uid).available_plugins


def _name(uid: str) -> str:
    """The standard's name; a number that is not the standard's may say whose file it is."""
    from pydicom.uid import UID

    known = UID(uid)
    return str(known.name) if known.name != uid else "a private one"


def text(elements: Dataset, keyword: str) -> str:
    """The first value of an element without spaces around it, ``""`` where there is none."""
    value = _first(elements, keyword)
    return "" if value is None else str(value).strip(" \0")


def whole_number(elements: Dataset, keyword: str, default: int) -> int:
    """A whole number, ``default`` where there is none."""
    value = text(elements, keyword)
    return int(value) if value else default


def real_number(elements: Dataset, keyword: str) -> float | None:
    """A number, the first where there are several; None where there is none."""
    value = _first(elements, keyword)
    return None if value in (None, "") else float(value)


def _first(elements: Dataset, keyword: str) -> Any:
    from pydicom.multival import MultiValue

    value = elements.get(keyword)
    if isinstance(value, MultiValue):
        return value[0] if value else None
    return value


PIXEL_DATA = 0x7FE00010
HEADER_BYTES = 64 * 2**20
"""A header may make us read so much at most; whole ones have some 10 kB."""

_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, PIXEL_DATA)
_MAX_VALUE = 2**18
_MAX_READS = 50_000
"""Each element and each item takes two or three; whole headers have some hundreds of elements."""
_BYTES_PER_READ = 4096
_UNDEFINED = 0xFFFFFFFF
_MAGIC = 128
_ITEM = b"\xfe\xff\x00\xe0"
_END_OF_ITEMS = b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True)
class Parsed:
    """The elements asked for, and where the pixels are.

    ``storage`` is the SOP class UID in the file meta group, ``""`` where there is none.
    ``pixel_bytes`` is the length of the pixel data as the file states it, None where compressed
    pixels follow, and -1 where there are none. ``syntax`` is the transfer syntax UID.
    """

    elements: Dataset
    syntax: str
    pixel_bytes: int | None
    storage: str = ""


def parse(path: str, tags: Sequence[str], *, with_pixels: bool, budget: int) -> Parsed:
    """The elements ``tags`` (keywords) of a file, with or without preamble and file meta group.

    At most ``budget`` bytes are read or inflated. Unless ``with_pixels``, reading ends before the
    pixels, after a look whether they are all there.

    Raises
    ------
    UnreadableImage : no DICOM file, damaged, truncated, or larger than the budget.
    OSError : it cannot be opened or read.
    """
    load_pydicom()
    with _Bounded(path, budget) as file:
        head = file.read(1024)
        if head[_MAGIC : _MAGIC + 4] != b"DICM" and not _begins_with_an_element(head):
            raise UnreadableImage("not a DICOM file" if head else "the file is empty")
        file.seek(0)
        watch = _Watch(tags, with_pixels)
        try:
            return _parse(file, head, watch, with_pixels=with_pixels)
        except (UnreadableImage, MemoryError):
            raise
        except Exception as error:
            # Parsers of hostile files raise nearly anything, and pydicom's messages quote what is
            # in the file: neither they nor the chain of causes may go further.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise UnreadableImage("damaged: its header cannot be read") from None


def _parse(file: _Bounded, head: bytes, watch: _Watch, *, with_pixels: bool) -> Parsed:
    from pydicom.filereader import read_partial

    storage = ""
    if DEFLATED.encode() in head:
        elements = _parse_deflated(file, watch, with_pixels=with_pixels)
        syntax = DEFLATED
    else:
        elements = read_partial(
            cast("BinaryIO", file), watch, force=True, specific_tags=watch.wanted
        )
        uid = str(elements.file_meta.get("TransferSyntaxUID", "") or "")
        storage = str(elements.file_meta.get("MediaStorageSOPClassUID", "") or "")
        implicit, little = elements.original_encoding
        native = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG
        syntax = uid or native
    if with_pixels and "PixelData" not in elements:
        raise UnreadableImage("truncated: the pixels end early")
    if not with_pixels and syntax != DEFLATED and watch.pixels > 0:
        _require_whole(file, watch.pixels)
    pixel_bytes = None if watch.pixels == _UNDEFINED else watch.pixels
    return Parsed(elements, syntax, pixel_bytes, storage)


class _Watch:
    """pydicom's ``stop_when``: refuses absurd lengths, notes the pixel data, and stops there."""

    def __init__(self, tags: Sequence[str], with_pixels: bool) -> None:
        from pydicom.datadict import tag_for_keyword

        tagged = [tag_for_keyword(keyword) for keyword in tags]
        self.wanted: list[BaseTag | int] = [tag for tag in tagged if tag is not None]
        self._stops = not with_pixels
        self.pixels = -1
        if with_pixels:
            self.wanted.append(PIXEL_DATA)
        self._few = frozenset(self.wanted)

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        place = int(tag)  # pydicom's tags compare slowly
        if place in _PIXEL_TAGS:
            if place != PIXEL_DATA:
                raise UnreadableImage("its pixels are floating-point numbers")
            self.pixels = length
            return self._stops
        if _MAX_VALUE < length != _UNDEFINED and place in self._few:
            raise UnreadableImage(f"damaged: a field of its header states {length} bytes")
        return place > PIXEL_DATA


class _Bounded(io.BufferedReader):
    """A file that gives no more bytes than a budget, and no buffer larger than what is left."""

    def __init__(self, path: str, budget: int) -> None:
        super().__init__(io.FileIO(path), 16 * 1024)
        self.size = os.fstat(self.fileno()).st_size
        self.left = budget
        self._count = _Count(self.size)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:  # pydicom, where it would inflate a whole file
            raise UnreadableImage("damaged: a deflated file with an unusual header")
        self._count.advance()
        if size > 65536:
            size = min(size, max(0, self.size - self.tell()))
        self.left -= size
        if self.left < 0:
            raise UnreadableImage("larger than its pixels may be, or with an endless header")
        return super().read(size)


class _Count:
    """Counts the reads of a file of ``size`` bytes: millions of empty items cost minutes."""

    def __init__(self, size: int) -> None:
        self._left = _MAX_READS + size // _BYTES_PER_READ

    def advance(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise UnreadableImage("damaged: an endless header")


class _Inflated(io.BytesIO):
    """Inflated bytes, read as often as a file of this size may be."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._count = _Count(len(content))

    def read(self, size: int | None = -1, /) -> bytes:
        self._count.advance()
        return super().read(size)


def _begins_with_an_element(head: bytes) -> bool:
    """Whether a file without preamble starts with group 0002 or 0008, of a plausible number."""
    return head[:2] in (b"\x02\x00", b"\x08\x00") or head[:3] == b"\x00\x08\x00"


def _parse_deflated(file: _Bounded, watch: _Watch, *, with_pixels: bool) -> Dataset:
    """PS3.5 A.5; pydicom would inflate everything at once, whatever it comes to."""
    from pydicom.filereader import read_dataset

    file.seek(_MAGIC + 4)
    meta = read_dataset(
        cast("BinaryIO", file), False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2
    )
    if meta.get("TransferSyntaxUID") != DEFLATED:
        raise UnreadableImage("damaged: its header cannot be read")
    # Preamble, "DICM", and the element that states how long the rest of the group is.
    file.seek(_MAGIC + 4 + 12 + int(meta.FileMetaInformationGroupLength))
    limit = file.left if with_pixels else _MAX_VALUE
    stream = _Inflated(_inflate(file, limit, whole=with_pixels))
    return read_dataset(stream, False, True, stop_when=watch, specific_tags=watch.wanted)


def _inflate(file: _Bounded, limit: int, *, whole: bool) -> bytes:
    inflater, parts, total = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
    pending = file.read(65536)
    while pending and not inflater.eof and total < limit:
        parts.append(inflater.decompress(pending, limit - total))
        total += len(parts[-1])
        pending = inflater.unconsumed_tail or file.read(65536)
    if whole and total >= limit and not inflater.eof:
        raise UnreadableImage("larger than its pixels may be, once inflated")
    if whole and not inflater.eof:
        raise UnreadableImage("truncated: the pixels end early")
    return b"".join(parts)


def _require_whole(file: _Bounded, length: int) -> None:
    """The file stands before the pixel data: is its end there, as far as that can be told?

    Where the value begins is seen from the VR and not from the transfer syntax, which some belie.
    """
    place, lead = file.tell(), file.read(6)
    place += 12 if lead[4:] in (b"OB", b"OW", b"UN") else 8
    if length == _UNDEFINED:
        _require_all_items(file, place)
    elif place + length > file.size:
        raise UnreadableImage("truncated: the pixels end early")


def _require_all_items(file: _Bounded, place: int) -> None:
    """Step over the fragments of compressed pixels (PS3.5 A.4) to where they say that they end."""
    while place + 8 <= file.size:
        file.seek(place)
        tag, length = file.read(4), int.from_bytes(file.read(4), "little")
        if tag == _END_OF_ITEMS:
            return
        if tag != _ITEM:
            raise UnreadableImage("damaged: its compressed pixels are not in order")
        place += 8 + length
    raise UnreadableImage("truncated: the pixels end early")
