"""Decode image files safely to 8-bit grey, and shape images and boxes to a square size.

Two decoders, chosen by measurement on the 160 original 1024x1024 PNGs of nih-mini (medians of
interleaved runs, one thread): OpenCV 7.6 ms, Pillow 9.9 ms; 160 JPEGs: 1.8 ms against 2.0 ms. Of
144 PNGs with one flipped bit OpenCV refused all, Pillow 143; both refused every copy that was cut
short. But OpenCV's libraries write to standard error about each damaged file, and Pillow reads
16-bit colour as 8 bits. So: checksums of a PNG's chunks are verified here (0.14 ms), a sound PNG
goes to OpenCV, and everything else goes to Pillow, which is silent and reads the size before the
pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrbench.errors import UnreadableImage
from cxrbench.store.grey import grey_of_colour, in_bands, to_grey8
from cxrbench.store.limits import DECODING, check_length, check_size, is_shortage, require_memory

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from cxrbench.interfaces import Box

Fit = Literal["stretch", "pad"]

# A fixed list: Pillow also opens formats that start other programs (EPS) or that nobody tests.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "JPEG2000", "WEBP")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_MAX_SCANS = 64
"""Encoders make about ten; each costs the time of a whole image."""
_ORIENTATION = 0x0112
_TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        2: np.fliplr,
        3: lambda grey: np.rot90(grey, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda grey: np.rot90(grey, -1),
        7: lambda grey: np.rot90(grey, 2).T,
        8: np.rot90,
    }
)
_DIRECT_MODES = ("L", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")


def decode(data: bytes, *, max_pixels: int) -> np.ndarray:
    """Decode an encoded image (PNG, JPEG, TIFF, BMP, JPEG 2000, WebP) to 8-bit grey.

    Returns
    -------
    (H, W) uint8. 8-bit grey is unchanged, deeper images are scaled from `grey_range` to 0..255,
    colour becomes luminance, alpha is composited over black, orientation tags are applied.

    Raises
    ------
    UnreadableImage
        Empty, not an image, damaged or truncated, a side under 16 pixels, or larger than
        ``max_pixels`` allows by its header (decided before anything is decoded). A JPEG carries no
        checksum: a changed byte inside its compressed data looks like a strange image.
    MemoryError
        There is not enough memory now.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        grey = _decode_sound_png(data, max_pixels)
        return _decode_by_pillow(data, max_pixels) if grey is None else grey
    except UnreadableImage:
        raise
    except Exception as error:
        if is_shortage(error):
            raise
        # Parsers of hostile files raise nearly anything; each means "cannot be decoded".
        raise UnreadableImage(_reason(error)) from error


def clahe(image: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation, clip limit 2.0 on 8x8 tiles.

    K. Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994.
    """
    import cv2

    # A CLAHE object keeps buffers between calls, so threads must not share one.
    result: np.ndarray = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(image)
    return result


def fit_image(image: np.ndarray, size: int, fit: Fit) -> np.ndarray:
    """The image (H, W) uint8 at (size, size): stretched, or whole on a black square, centred."""
    height, width = image.shape
    place = _placement(width, height, size, fit)
    inner = _resize(image, place.width, place.height)
    if (place.width, place.height) == (size, size):
        return inner
    square = np.zeros((size, size), np.uint8)
    square[place.y : place.y + place.height, place.x : place.x + place.width] = inner
    return square


def fit_box(box: Box, original: tuple[int, int], size: int, fit: Fit) -> Box:
    """The box on what `fit_image` makes of an image of ``original`` (width, height) pixels."""
    place = _placement(*original, size, fit)
    across, down = place.width / original[0], place.height / original[1]
    return replace(
        box,
        x=place.x + box.x * across,
        y=place.y + box.y * down,
        width=box.width * across,
        height=box.height * down,
    )


def unfit_points(points: np.ndarray, original: tuple[int, int], size: int, fit: Fit) -> np.ndarray:
    """Places (n, 2) x, y on what `fit_image` made, in pixels of the original (width, height)."""
    place = _placement(*original, size, fit)
    return (points - [place.x, place.y]) * [original[0] / place.width, original[1] / place.height]


def unfit_map(values: np.ndarray, original: tuple[int, int], fit: Fit) -> np.ndarray:
    """Values (S, S) float32 over what `fit_image` made, as (H, W) over the original.

    ``original`` is (width, height). What lies on the padding is cut off; the rest is interpolated
    bilinearly between pixels' centres, so that no value is outside those that there were.
    """
    import cv2

    place = _placement(*original, len(values), fit)
    inner = values[place.y : place.y + place.height, place.x : place.x + place.width]
    result: np.ndarray = cv2.resize(
        np.ascontiguousarray(inner), original, interpolation=cv2.INTER_LINEAR
    )
    return result


@dataclass(frozen=True)
class _Placement:
    x: int
    y: int
    width: int
    height: int


def _placement(width: int, height: int, size: int, fit: Fit) -> _Placement:
    if fit == "stretch":
        return _Placement(0, 0, size, size)
    longest = max(width, height)
    inner_width = max(1, round(width * size / longest))
    inner_height = max(1, round(height * size / longest))
    return _Placement(
        (size - inner_width) // 2, (size - inner_height) // 2, inner_width, inner_height
    )


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    # A side that shrinks wants area averages (no aliasing), one that grows wants interpolation.
    smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
    if smaller != image.shape[::-1]:
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _decode_sound_png(data: bytes, max_pixels: int) -> np.ndarray | None:
    """Pixels (RGB order) of a PNG with sound chunks, None for what Pillow should look at."""
    if not data.startswith(_PNG_SIGNATURE):
        return None
    header, kinds = _read_png_chunks(data, max_pixels)
    depth, colour_type = header[2], header[3]
    # Palettes, transparent colours and fewer than 8 bits are Pillow's; so are chunks that libpng
    # would comment on (iCCP, iTXt...).
    if depth < 8 or colour_type == 3 or not kinds <= {b"IHDR", b"IDAT", b"IEND", b"tIME", b"pHYs"}:
        return None
    pixel_bytes = _PNG_CHANNELS.get(colour_type, 4) * depth // 8
    check_size(header[0], header[1], max_pixels, pixel_bytes)
    with DECODING.reserve(header[0] * header[1] * (pixel_bytes + 2)):
        return _decode_by_opencv(data, header[1], header[0])


def _decode_by_opencv(data: bytes, height: int, width: int) -> np.ndarray | None:
    import cv2

    pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (height, width):
        return None
    if pixels.ndim == 2:
        return to_grey8(pixels)
    order = [2, 1, 0, 3][: pixels.shape[2]]
    return to_grey8(in_bands(lambda a, b: grey_of_colour(pixels[a:b][:, :, order]), height))


def _read_png_chunks(data: bytes, max_pixels: int) -> tuple[tuple[int, ...], set[bytes]]:
    """Header fields and the kinds of chunks; raise unless all are whole, with right checksums.

    Layout: PNG specification, third edition (W3C, 2025), section 5.
    """
    view, position, kinds = memoryview(data), len(_PNG_SIGNATURE), set[bytes]()
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise UnreadableImage("truncated or damaged: no PNG header")
    header = struct.unpack_from(">IIBBBBB", data, 16)
    check_size(header[0], header[1], max_pixels)
    check_length(len(data), header[0], header[1])
    while b"IEND" not in kinds:
        if position + 12 > len(data):
            raise UnreadableImage("truncated: the PNG has no end")
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise UnreadableImage("truncated: the PNG ends inside a chunk")
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise UnreadableImage("damaged: a checksum in the PNG does not match")
        kinds.add(bytes(view[position + 4 : position + 8]))
        position = end + 4
    return header, kinds


def _decode_by_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    with open_image(data) as image:
        pixel_bytes = _bytes_while_decoding(image, data)
        check_size(*image.size, max_pixels, pixel_bytes)
        check_length(len(data), *image.size)
        size = image.size[0] * image.size[1] * (pixel_bytes + 2)
        with DECODING.reserve(size):
            try:
                image.load()
            except Exception:
                require_memory(size)
                raise
            return _upright(_grey_of_pillow(image), image.getexif().get(_ORIENTATION, 1))


def _bytes_while_decoding(image: ImageFile, data: bytes) -> int:
    """Bytes for each pixel that Pillow and the library of the format hold at the same time."""
    held = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    samples = len(image.getbands())
    if image.format == "JPEG" and image.info.get("progressive"):
        scans = data.count(b"\xff\xda")  # a marker: inside a scan no such bytes follow each other
        if scans > _MAX_SCANS:
            raise UnreadableImage(f"a JPEG of {scans} scans: more than the limit of {_MAX_SCANS}")
        return held + 2 * samples  # all coefficients, until the last scan
    return held + {"JPEG2000": 4 * samples, "WEBP": 4}.get(str(image.format), 0)


def _grey_of_pillow(image: ImageFile) -> np.ndarray:
    if image.mode in _DIRECT_MODES and not image.has_transparency_data:
        return to_grey8(np.asarray(image))
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    mode = "RGBA" if image.has_transparency_data else "RGB"

    def grey(top: int, end: int) -> np.ndarray:
        return grey_of_colour(np.asarray(image.crop((0, top, image.width, end)).convert(mode)))

    return to_grey8(in_bands(grey, image.height))


def _upright(grey: np.ndarray, orientation: int) -> np.ndarray:
    """As viewers show it: Exif 2.32, table 6 (the tag's values 1 to 8)."""
    turn = _TURNS.get(orientation)
    return grey if turn is None else np.ascontiguousarray(turn(grey))


def open_image(data: bytes) -> ImageFile:
    """Pillow's image with its header read and no pixel yet; one of a fixed list of formats.

    Raises
    ------
    UnreadableImage : none of these formats. Pillow raises nearly anything for a broken header.
    """
    from PIL import Image

    Image.init()
    for name in _FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        # Not Image.open: it warns about, or refuses, what ``max_pixels`` is there to decide.
        if factory is not None and accepts is not None and accepts(data[:16]) is True:
            return factory(io.BytesIO(data), "")
    raise UnreadableImage("not an image, or a format that is not supported")


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = (lines[0] if lines else type(error).__name__)[:120]
    # Without Pillow's count of bytes, so that the same damage has the same reason.
    return "truncated: the pixels end early" if "truncated" in text else f"damaged: {text}"
