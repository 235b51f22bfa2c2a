"""The pixels of a DICOM file as 8-bit grey, if they are one grey frame of at most 16 bits."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom.grey_scale import display_table
from cxrbench.builtin._dicom.header import (
    CODECS,
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    HEADER_BYTES,
    NATIVE,
    PLUGINS,
    RLE,
    Parsed,
    codec_function,
    parse,
    require_decoder,
    text,
    whole_number,
)

if TYPE_CHECKING:
    import numpy as np


TAGS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)


@dataclass(frozen=True)
class Form:
    """Size in pixels; the bits of a stored value, and whether it has a sign.

    ``inverted`` says that low values are bright (MONOCHROME1).
    """

    width: int
    height: int
    bits: int
    signed: bool
    inverted: bool
    compressed: bool
    big_endian: bool

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest value that can be stored."""
        if self.signed:
            return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1


def form_of(parsed: Parsed) -> Form:
    """The form of a file's pixels; `TAGS` have to be among what was parsed.

    Raises
    ------
    UnreadableImage : they are not of the form that is read, or the file has too few of them.
    """
    elements = parsed.elements
    if parsed.pixel_bytes is not None and parsed.pixel_bytes <= 0:
        raise UnreadableImage("has no pixel data")
    allocated = whole_number(elements, "BitsAllocated", 0)
    stored = whole_number(elements, "BitsStored", 0)
    photometric = text(elements, "PhotometricInterpretation").upper()
    if whole_number(elements, "NumberOfFrames", 1) > 1:
        raise UnreadableImage("has several frames")
    grey = photometric in ("MONOCHROME1", "MONOCHROME2")
    if not grey or whole_number(elements, "SamplesPerPixel", 1) != 1:
        raise UnreadableImage("its pixels are not grey (MONOCHROME1 or MONOCHROME2)")
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise UnreadableImage("its pixels are not of 1 to 16 bits, stored in 8 or 16")
    if whole_number(elements, "HighBit", stored - 1) != stored - 1:
        raise UnreadableImage("its pixels are stored in the upper bits, which is obsolete")
    form = Form(
        width=whole_number(elements, "Columns", 0),
        height=whole_number(elements, "Rows", 0),
        bits=stored,
        signed=whole_number(elements, "PixelRepresentation", 0) == 1,
        inverted=photometric == "MONOCHROME1",
        compressed=parsed.syntax not in NATIVE,
        big_endian=parsed.syntax == EXPLICIT_BIG,
    )
    _require_pixels(form, allocated // 8, parsed.pixel_bytes)
    require_decoder(parsed.syntax)
    return form


def _require_pixels(form: Form, pixel_size: int, pixel_bytes: int | None) -> None:
    if form.width < 1 or form.height < 1:
        raise UnreadableImage("damaged: no rows or no columns")
    if (pixel_bytes is None) != form.compressed:
        raise UnreadableImage("damaged: its pixels are not stored as its transfer syntax says")
    if pixel_bytes is not None and pixel_bytes < form.width * form.height * pixel_size:
        raise UnreadableImage("truncated: fewer pixels than rows and columns say")


_JPEG_START = b"\xff\xd8"
_JPEG_2000_START = b"\xff\x4f\xff\x51"
# SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, table B.1), and SOF55 of JPEG-LS (T.87).
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN = 0xDA


@dataclass(frozen=True)
class Stated:
    """``width`` and ``height`` in pixels, samples in each, and the bits of a sample."""

    width: int
    height: int
    samples: int
    bits: int


def stated_size(data: bytes) -> Stated:
    """What JPEG, JPEG-LS and (high-throughput) JPEG 2000 state in their headers.

    Raises
    ------
    UnreadableImage : these are none of them, or end before the header does.
    """
    try:
        if data.startswith(_JPEG_2000_START):
            return _jpeg_2000(data)
        if data.startswith(_JPEG_START):
            return _jpeg(data)
    except struct.error:
        pass
    raise UnreadableImage("damaged: the compressed pixels do not begin as they should")


def require_rle_size(data: bytes, pixels: int) -> None:
    """Refuse run lengths that come to more than ``pixels`` bytes in a segment (PS3.5 G.3 to G.5).

    pydicom unpacks whatever is there: two bytes may become 128.

    Raises
    ------
    UnreadableImage : they come to more, or there are more segments than a 16-bit pixel has bytes.
    """
    try:
        count, *offsets = struct.unpack_from("<16L", data)
    except struct.error:
        count, offsets = 0, []
    if not 1 <= count <= 2:
        raise UnreadableImage("damaged: the compressed pixels do not begin as they should")
    ends = [*offsets[1:count], len(data)]
    for start, end in zip(offsets, ends, strict=False):
        if _unpacked_size(data[start:end]) > pixels + 2:  # a run may end in padding
            raise UnreadableImage("damaged: run lengths of more pixels than rows and columns say")


def _unpacked_size(segment: bytes) -> int:
    place = size = 0
    while place < len(segment):
        run = segment[place]
        if run < 128:
            size += run + 1
            place += run + 2
        else:
            size += 257 - run if run > 128 else 0
            place += 2 if run > 128 else 1
    return size


def _jpeg_2000(data: bytes) -> Stated:
    """The SIZ segment: ISO/IEC 15444-1, A.5.1."""
    right, bottom, left, top = struct.unpack_from(">4I", data, 8)
    samples, depth = struct.unpack_from(">HB", data, 40)
    return Stated(right - left, bottom - top, samples, (depth & 0x7F) + 1)


def _jpeg(data: bytes) -> Stated:
    """The frame header: ITU-T T.81, B.2.2."""
    place = 2
    while True:
        lead, marker = struct.unpack_from(">BB", data, place)
        if lead != 0xFF or marker == _SCAN:
            raise struct.error
        if marker == 0xFF:  # fill bytes
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _FRAMES:
            bits, height, width, samples = struct.unpack_from(">BHHB", data, place + 4)
            return Stated(width, height, samples, bits)
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]


_TAGS = (
    *TAGS,
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)
_BYTES_PER_PIXEL = 2
_LARGE_PIXELS = 2**25
_LARGE = Lock()
"""Held while a larger image is decoded, so that threads do not hold several at the same time."""
_MAX_SCANS = 64
"""Of a progressive JPEG: encoders make about ten; each costs the time of a whole image."""


def read_pixels(path: str, *, max_pixels: int) -> np.ndarray:
    """The image as grey (H, W) uint8, bright where the body absorbs. Large ones wait in line.

    A window, or a VOI LUT, that the file has is applied; without one, the values in the image are
    scaled from their own minimum..maximum.

    Raises
    ------
    UnreadableImage : not one frame of grey, damaged, truncated, or more than ``max_pixels`` by its
        header or by that of its compressed pixels; decided before they are decoded.
    OSError : it cannot be opened or read.
    """
    budget = max_pixels * _BYTES_PER_PIXEL + HEADER_BYTES
    header = parse(path, _TAGS, with_pixels=False, budget=HEADER_BYTES)
    shape = _form(header)
    try:
        _require_size(shape, max_pixels)
        with _LARGE if shape.width * shape.height > _LARGE_PIXELS else nullcontext():
            parsed = parse(path, _TAGS, with_pixels=True, budget=budget)
            stored = _decoded(parsed, shape)
            return _displayed(stored, parsed, shape)
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        _require_memory(shape)
        # Decoders of hostile files raise nearly anything, and their messages may quote the file.
        reason = f"damaged: its pixels cannot be decoded ({type(error).__name__})"
        raise UnreadableImage(reason) from None


def _form(header: Parsed) -> Form:
    try:
        return form_of(header)
    except (UnreadableImage, MemoryError):
        raise
    except Exception:  # a value that is not of its type; the message would quote it
        raise UnreadableImage("damaged: its header cannot be read") from None


def _require_memory(shape: Form) -> None:
    """Raise MemoryError if there is none: decoders in C report a failed allocation as damage."""
    import numpy as np

    np.empty(shape.width * shape.height * 8, np.uint8)


def _require_size(shape: Form, max_pixels: int) -> None:
    if shape.width * shape.height > max_pixels:
        raise UnreadableImage(
            f"{shape.width}x{shape.height} pixels: more than the limit of {max_pixels}"
        )


def _decoded(parsed: Parsed, shape: Form) -> np.ndarray:
    """Stored values (H, W); those beyond Bits Stored are cut to it."""
    import numpy as np
    from pydicom.pixels import get_decoder

    elements, syntax = parsed.elements, parsed.syntax
    frame = _checked_frame(elements.PixelData, syntax, shape) if shape.compressed else b""
    if syntax in CODECS:
        return np.clip(_by_imagecodecs(frame, syntax, shape), *shape.range)
    decoder = get_decoder(EXPLICIT_LITTLE if syntax == DEFLATED else syntax)
    stored, _ = decoder.as_array(
        elements, index=0, raw=True, decoding_plugin=PLUGINS.get(syntax, "")
    )
    return np.clip(stored, *shape.range)


def _checked_frame(encapsulated: bytes, syntax: str, shape: Form) -> bytes:
    """The compressed image; a decoder goes by the size in it, whatever the header says."""
    from pydicom.encaps import get_frame

    frame = get_frame(encapsulated, 0, number_of_frames=1)
    if frame.count(b"\xff\xda") > _MAX_SCANS and frame.startswith(_JPEG_START):
        raise UnreadableImage(f"a JPEG of more than {_MAX_SCANS} scans")
    if syntax == RLE:
        require_rle_size(frame, shape.width * shape.height)
        return frame
    stated = stated_size(frame)
    if (stated.width, stated.height) != (shape.width, shape.height):
        raise UnreadableImage(
            f"damaged: {shape.width}x{shape.height} pixels by the header, "
            f"{stated.width}x{stated.height} by the compressed image"
        )
    if stated.samples != 1 or stated.bits > 16:
        raise UnreadableImage("its compressed pixels are not grey of at most 16 bits")
    return frame


def _by_imagecodecs(frame: bytes, syntax: str, shape: Form) -> np.ndarray:
    """Neither JPEG nor JPEG-LS knows signs: a sign is the highest of the bits stored."""
    import numpy as np

    decoded = codec_function(syntax)(frame)
    if decoded.shape != (shape.height, shape.width) or decoded.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage("damaged: its pixels were decoded as something other than an image")
    if not shape.signed:
        return decoded
    unused = 16 - shape.bits
    return (decoded.astype(np.uint16) << unused).view(np.int16) >> unused


def _displayed(stored: np.ndarray, parsed: Parsed, shape: Form) -> np.ndarray:
    import numpy as np

    low, _ = shape.range
    table = display_table(stored, parsed.elements, shape)
    indices = stored if low == 0 else stored.astype(np.int32) - low
    return table[indices]
