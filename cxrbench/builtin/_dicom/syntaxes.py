"""Transfer syntaxes that are read, and the one decoder of each.

One and not the first that is installed: decoders of lossy images differ in the last bit, and the
same file has to give the same pixels everywhere. Chosen by licence and by what damaged files did to
them: GDCM 3.2 ended the process, pylibjpeg-rle 2.2 panicked past every ``except``, and
pylibjpeg-libjpeg is under the GPL.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import MappingProxyType

from cxrbench import UnreadableImage

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


def require_decoder(uid: str) -> None:
    """Raise `UnreadableImage` unless pixels in this transfer syntax can be read."""
    if uid in NATIVE:
        return
    if uid not in PLUGINS and uid not in CODECS:
        raise UnreadableImage(f"{_name(uid)} is a transfer syntax that is not read")
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
