"""The form of the pixels: one grey frame of at most 16 bits, in a transfer syntax that is read."""

from __future__ import annotations

from dataclasses import dataclass

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom.parse import Parsed
from cxrbench.builtin._dicom.syntaxes import EXPLICIT_BIG, NATIVE, require_decoder
from cxrbench.builtin._dicom.values import text, whole_number

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
        raise UnreadableImage("its pixels are stored in the upper bits, as is no longer done")
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
