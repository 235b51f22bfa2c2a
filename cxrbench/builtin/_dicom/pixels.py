"""Pixels as they are meant to be seen, 8-bit grey: decoded within bounds, through the LUTs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom import form
from cxrbench.builtin._dicom.codestream import require_rle_size, stated_size
from cxrbench.builtin._dicom.grey_scale import display_table
from cxrbench.builtin._dicom.parse import HEADER_BYTES, Parsed, parse
from cxrbench.builtin._dicom.syntaxes import (
    CODECS,
    DEFLATED,
    EXPLICIT_LITTLE,
    PLUGINS,
    RLE,
)

if TYPE_CHECKING:
    import numpy as np

_TAGS = (
    *form.TAGS,
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)
_BYTES_PER_PIXEL = 2


def read_pixels(path: str, *, max_pixels: int) -> np.ndarray:
    """The image as grey (H, W) uint8, bright where the body absorbs.

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
    try:
        shape = form.form_of(header)
        _require_size(shape, max_pixels)
        parsed = parse(path, _TAGS, with_pixels=True, budget=budget)
        stored = _decoded(parsed, shape)
        return _displayed(stored, parsed, shape)
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Decoders of hostile files raise nearly anything, and their messages may quote the file.
        reason = f"damaged: its pixels cannot be decoded ({type(error).__name__})"
        raise UnreadableImage(reason) from None


def _require_size(shape: form.Form, max_pixels: int) -> None:
    if shape.width * shape.height > max_pixels:
        raise UnreadableImage(
            f"{shape.width}x{shape.height} pixels: more than the limit of {max_pixels}"
        )


def _decoded(parsed: Parsed, shape: form.Form) -> np.ndarray:
    """Stored values (H, W); those beyond Bits Stored are cut to it."""
    import numpy as np
    from pydicom.pixels import get_decoder

    elements, syntax = parsed.elements, parsed.syntax
    frame = _checked_frame(elements.PixelData, syntax, shape) if shape.compressed else b""
    if syntax in CODECS:
        return np.clip(_by_imagecodecs(frame, CODECS[syntax], shape), *shape.range)
    decoder = get_decoder(EXPLICIT_LITTLE if syntax == DEFLATED else syntax)
    stored, _ = decoder.as_array(
        elements, index=0, raw=True, decoding_plugin=PLUGINS.get(syntax, "")
    )
    return np.clip(stored, *shape.range)


def _checked_frame(encapsulated: bytes, syntax: str, shape: form.Form) -> bytes:
    """The compressed image; a decoder goes by the size in it, whatever the header says."""
    from pydicom.encaps import get_frame

    frame = get_frame(encapsulated, 0, number_of_frames=1)
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


def _by_imagecodecs(frame: bytes, codec: str, shape: form.Form) -> np.ndarray:
    """Neither JPEG nor JPEG-LS knows signs: a sign is the highest of the bits stored."""
    import imagecodecs
    import numpy as np

    found: np.ndarray = getattr(imagecodecs, codec)(frame)
    if found.shape != (shape.height, shape.width) or found.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage("damaged: its pixels were decoded as something else than an image")
    if not shape.signed:
        return found
    unused = 16 - shape.bits
    return (found.astype(np.uint16) << unused).view(np.int16) >> unused


def _displayed(stored: np.ndarray, parsed: Parsed, shape: form.Form) -> np.ndarray:
    import numpy as np

    low, _ = shape.range
    table = display_table(stored, parsed.elements, shape)
    indices = stored if low == 0 else stored.astype(np.int32) - low
    return table[indices]
