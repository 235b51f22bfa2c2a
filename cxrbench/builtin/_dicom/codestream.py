"""The size that a compressed image itself states, read before any decoder allocates for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cxrbench import UnreadableImage

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
