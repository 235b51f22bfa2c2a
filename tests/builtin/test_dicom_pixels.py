"""Pixels of DICOM files: LUTs, windows, polarity, padding, and what cannot be shown."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

import pydicom
from dicom_files import pixels, write
from dicom_images import SIGNED, WINDOW, lut, read, refused
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut


def by_pydicom(dataset: Dataset) -> np.ndarray:
    """The same by pydicom's own functions, from the range that it gives to 0..255."""
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    if "VOILUTSequence" in dataset:
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    else:
        signed = dataset.PixelRepresentation
        low = -(2 ** (dataset.BitsStored - 1)) if signed else 0
        high = 2 ** (dataset.BitsStored - signed) - 1
        slope, intercept = (
            dataset.get(f"Rescale{n}", d) for n, d in (("Slope", 1), ("Intercept", 0))
        )
        low, high = (float(value * slope + intercept) for value in (low, high))
        if "ModalityLUTSequence" in dataset:
            low, high = 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    share = (shown - low) / (high - low)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    return np.rint(share * 255).astype(np.uint8)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "elements",
    [
        WINDOW,
        {**WINDOW, "VOILUTFunction": "LINEAR_EXACT"},
        {**WINDOW, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": [900, 2000], "WindowWidth": [700, 100]},
        {**WINDOW, "RescaleSlope": "0.5", "RescaleIntercept": "-100"},
        {"WindowCenter": 40000, "WindowWidth": 60000, "ModalityLUTSequence": [lut(0, 16)]},
        {"VOILUTSequence": [lut(0, 12)]},
        {"VOILUTSequence": [lut(300, 16, 2000)]},
        {"VOILUTSequence": [lut(0, 12)], **WINDOW},  # the LUT goes before the window
    ],
    ids=str,
)
def test_it_looks_as_pydicom_shows_it(tmp_path, photometric, elements):
    path = write(tmp_path / "a", PhotometricInterpretation=photometric, **elements)
    np.testing.assert_array_equal(read(path), by_pydicom(pydicom.dcmread(path)))


def test_signed_values_look_as_pydicom_shows_them(tmp_path):
    path = write(tmp_path / "a", SIGNED, WindowCenter=-200, WindowWidth=900)
    np.testing.assert_array_equal(read(path), by_pydicom(pydicom.dcmread(path)))


def test_without_a_window_the_values_that_occur_are_stretched(tmp_path):
    image = pixels(bits=12) // 4 + 100
    low, high = int(image.min()), int(image.max())
    expected = np.rint((image - low) / (high - low) * 255).astype(np.uint8)
    np.testing.assert_array_equal(read(write(tmp_path / "a", image)), expected)
    inverted = write(tmp_path / "b", image, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(
        read(inverted), np.rint((1 - (image - low) / (high - low)) * 255).astype(np.uint8)
    )
    flat = write(tmp_path / "c", np.full((32, 32), 7, np.uint16))
    assert (read(flat) == 0).all()


def test_an_8_bit_voi_lut_is_looked_up_beyond_its_256th_entry(tmp_path):
    item = lut(0, 8)
    path = write(tmp_path / "a", VOILUTSequence=[item])
    table = np.frombuffer(item.LUTData, np.uint16)
    np.testing.assert_array_equal(read(path), table[pixels()].astype(np.uint8))
    packed = lut(0, 8)
    packed.LUTData = table.astype(np.uint8).tobytes()
    packed["LUTData"].VR = "OW"
    np.testing.assert_array_equal(read(write(tmp_path / "b", VOILUTSequence=[packed])), read(path))


@pytest.mark.parametrize(("first", "vr"), [(-1000, "SS"), (64536, "US")])
def test_a_rescale_goes_before_the_voi_lut(tmp_path, first, vr):
    item = lut(first, 12, 2048)
    item["LUTDescriptor"].VR = vr  # some writers take it for unsigned, as the pixels are
    path = write(
        tmp_path / "a", RescaleSlope="0.5", RescaleIntercept="-1000", VOILUTSequence=[item]
    )
    indices = np.rint(pixels() * 0.5 - 1000).astype(int) + 1000
    shown = np.frombuffer(item.LUTData, np.uint16)[np.minimum(indices, 2047)]
    np.testing.assert_array_equal(read(path), np.rint(shown / 4095 * 255).astype(np.uint8))


def test_bits_beyond_those_stored_are_no_part_of_a_value(tmp_path):
    image = pixels(bits=12)
    plain = write(tmp_path / "a", image, **WINDOW)
    overlaid = write(tmp_path / "b", image | 0xA000, **WINDOW)
    np.testing.assert_array_equal(read(overlaid), read(plain))


def test_padding_is_black_and_does_not_count(tmp_path):
    image = pixels(bits=12) // 2
    expected = read(write(tmp_path / "a", image, PhotometricInterpretation="MONOCHROME1"))
    padded = image.copy()
    padded[:4] = 4095
    path = write(
        tmp_path / "b", padded, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=4095
    )
    found = read(path)
    assert (found[:4] == 0).all()
    np.testing.assert_allclose(found[4:].astype(int), expected[4:], atol=3)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"WindowCenter": 10, "WindowWidth": 0}, "window is too narrow"),
        ({"WindowWidth": 10}, "no centre"),
        ({**WINDOW, "VOILUTFunction": "CUBIC"}, "not one of the standard"),
        ({"VOILUTSequence": [lut(0, 7)]}, "not of 8 to 16 bits"),
        ({"RescaleSlope": "1e308", "RescaleIntercept": "1e308"}, "is not finite"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"SamplesPerPixel": 3}, "not grey"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not grey"),
        ({"BitsAllocated": 32}, "1 to 16 bits"),
        ({"BitsStored": 17}, "1 to 16 bits"),
        ({"HighBit": 15}, "upper bits"),
        ({"Rows": 0}, "no rows"),
        ({"Rows": 49}, "fewer pixels"),
        ({"PixelData": None}, "no pixel data"),
    ],
    ids=str,
)
def test_what_cannot_be_shown_has_a_reason(tmp_path, elements, reason):
    assert reason in refused(write(tmp_path / "a", **elements))


def test_a_small_marker_does_not_cost_an_image_without_a_window_its_grey_levels(tmp_path):
    image = pixels((256, 256), bits=12)
    plain = read(write(tmp_path / "plain", image, bits=16))
    image[5:17, 5:17] = 65535
    marked = read(write(tmp_path / "marked", image, bits=16))
    assert (marked[5:17, 5:17] == 255).all()
    rest = np.ones(image.shape, bool)
    rest[5:17, 5:17] = False
    assert len(np.unique(marked[rest])) > 200
    assert np.corrcoef(marked[rest], plain[rest])[0, 1] > 0.999


REAL = os.environ.get("CXRBENCH_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cr-chest-jpeg-baseline", (1024, 1024)),
        ("cr-chest-mono1-jpeg2000", (1955, 1841)),
        ("dx-chest-pa", (1024, 1024)),
    ],
)
def test_real_radiographs_have_dark_lungs_in_a_bright_chest(name, shape):
    found = read(Path(str(REAL)) / "dicom" / f"{name}.dcm", 10**8)
    height, width = shape
    assert found.shape == shape
    middle = slice(height * 2 // 5, height * 3 // 5)
    spine = found[middle, width * 9 // 20 : width * 11 // 20].mean()
    lungs = found[middle, width // 5 : width * 2 // 5].mean()
    assert lungs + 20 < spine
