"""Reading single DICOM images, as the tests of the decoders do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

from dicom_files import SECRET, pixels
from pydicom.dataset import Dataset

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.pixels import read_pixels

LIMIT = 10**6
KEY = Key(SECRET.encode(), "tests")


def read(path: Path, max_pixels: int = LIMIT) -> np.ndarray:
    found = read_pixels(str(path), max_pixels=max_pixels)
    assert found.dtype == np.uint8
    return found


def refused(path: Path, max_pixels: int = LIMIT) -> str:
    with pytest.raises(UnreadableImage) as error:
        read_pixels(str(path), max_pixels=max_pixels)
    assert error.value.__cause__ is None  # the cause may quote the file
    return str(error.value)


def lut(first: int, bits: int, entries: int = 4096) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [entries, first, bits]
    curve = np.linspace(0, 1, entries) ** 0.5
    item.LUTData = np.rint(curve * (2**bits - 1)).astype(np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    return item


WINDOW = {"WindowCenter": 1500, "WindowWidth": 2000}
SIGNED = (pixels(bits=12).astype(np.int16) - 2048).astype(np.int16)
