"""Transfer syntaxes that are read, and the one decoder of each.

One and not the first that is installed: decoders of lossy images differ in the last bit, and the
same file has to give the same pixels everywhere. Chosen by what damaged files did to them: on some
pylibjpeg-rle 2.2 panicked past every ``except``, and pyjpegls 1.5 took 20 seconds for 1 kB.
pylibjpeg-libjpeg, which reads 12-bit JPEG, is under the GPL.
"""

from __future__ import annotations

from types import MappingProxyType

from cxrbench import UnreadableImage

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
RLE = "1.2.840.10008.1.2.5"

_JPEG = "1.2.840.10008.1.2.4."
PLUGINS = MappingProxyType(
    {
        f"{_JPEG}50": "pillow",  # JPEG baseline
        JPEG_EXTENDED: "pillow",
        f"{_JPEG}57": "gdcm",  # JPEG lossless
        f"{_JPEG}70": "gdcm",  # JPEG lossless, first-order prediction: the usual one in CR and DX
        f"{_JPEG}80": "gdcm",  # JPEG-LS
        f"{_JPEG}81": "gdcm",
        f"{_JPEG}90": "pylibjpeg",  # JPEG 2000
        f"{_JPEG}91": "pylibjpeg",
        f"{_JPEG}201": "pylibjpeg",  # high-throughput JPEG 2000
        f"{_JPEG}202": "pylibjpeg",
        f"{_JPEG}203": "pylibjpeg",
        RLE: "pydicom",
    }
)
"""pydicom's name of the decoder of each compressed transfer syntax."""

INSTALL = 'pip install "cxrbench[dicom]"'


def require_decoder(uid: str, bits: int) -> None:
    """Raise `UnreadableImage` unless pixels of so many bits in this transfer syntax can be read."""
    if uid in NATIVE:
        return
    name = _name(uid)
    if uid not in PLUGINS:
        raise UnreadableImage(f"{name} is a transfer syntax that is not read")
    if uid == JPEG_EXTENDED and bits > 8:
        raise UnreadableImage(f"{name} with {bits} bits is not read")
    from pydicom.pixels import get_decoder

    if PLUGINS[uid] not in get_decoder(uid).available_plugins:
        raise UnreadableImage(f"the decoder of {name} is not installed: {INSTALL}")


def _name(uid: str) -> str:
    """The standard's name; a number that is not the standard's may say whose file it is."""
    from pydicom.uid import UID

    known = UID(uid)
    return str(known.name) if known.name != uid else "a private one"
