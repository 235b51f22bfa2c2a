"""Pixels of DICOM files: LUTs, windows, polarity, decoders, sizes that lie, mutated files."""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

import pydicom
from dicom_files import SECRET, as_jpeg, by_imagecodecs, compressed, pixels, radiograph, save, write
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.pixels import read_pixels, stated_size
from cxrbench.builtin._dicom.radiograph import read_radiograph

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


def lut(first: int, bits: int, entries: int = 4096) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [entries, first, bits]
    curve = np.linspace(0, 1, entries) ** 0.5
    item.LUTData = np.rint(curve * (2**bits - 1)).astype(np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    return item


WINDOW = {"WindowCenter": 1500, "WindowWidth": 2000}
SIGNED = (pixels(bits=12).astype(np.int16) - 2048).astype(np.int16)


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


BY_IMAGECODECS = {"jpeg-lossless": JPEGLosslessSV1, "jpeg-ls": JPEGLSLossless}
BY_PYDICOM = {"jpeg-2000": JPEG2000Lossless, "rle": RLELossless}


def in_form(form: str, path: Path, dataset: Dataset) -> Path:
    """The radiograph in a file of this form."""
    if form in BY_PYDICOM:
        dataset.compress(BY_PYDICOM[form], generate_instance_uid=False)
    elif form == "jpeg":
        as_jpeg(dataset)
    elif form in ("implicit", "deflated"):
        implicit = form == "implicit"
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else DeflatedExplicitVRLittleEndian
        )
    elif form in BY_IMAGECODECS:
        by_imagecodecs(dataset, BY_IMAGECODECS[form])
    return save(path, dataset)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("form", [*BY_PYDICOM, *BY_IMAGECODECS])
def test_lossless_compression_changes_nothing(tmp_path, form, bits):
    dataset = radiograph(pixels(bits=bits), bits=bits)
    plain = save(tmp_path / "plain", dataset)
    path = in_form(form, tmp_path / "a", dataset)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read(path), read(plain))


def test_lossy_compression_changes_little(tmp_path):
    plain = read(write(tmp_path / "plain", pixels(bits=8), bits=8)).astype(int)
    jpeg = read(save(tmp_path / "jpeg", as_jpeg(radiograph(bits=8))))
    np.testing.assert_allclose(jpeg, plain, atol=8)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_uncompressed_form_gives_the_same(tmp_path, syntax):
    dataset = radiograph(**WINDOW)
    plain = save(tmp_path / "plain", dataset)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = pixels().byteswap().tobytes()
    path = tmp_path / "a"
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    np.testing.assert_array_equal(read(path), read(plain))


def test_a_file_without_preamble_or_meta_group(tmp_path):
    dataset = radiograph(**WINDOW)
    plain = read(save(tmp_path / "plain", dataset))
    data = (tmp_path / "plain").read_bytes()
    (tmp_path / "bare").write_bytes(data[132:])
    np.testing.assert_array_equal(read(tmp_path / "bare"), plain)
    del dataset.file_meta
    pydicom.dcmwrite(tmp_path / "old", dataset, implicit_vr=True, little_endian=True)
    start = (tmp_path / "old").read_bytes()
    assert start[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read(tmp_path / "old"), plain)


@pytest.mark.filterwarnings("ignore:Expected explicit VR")
def test_an_implicit_file_that_says_that_it_is_explicit(tmp_path):
    dataset = as_jpeg(radiograph(bits=8, **WINDOW))
    plain = read(save(tmp_path / "plain", dataset))
    with (tmp_path / "a").open("wb") as file:
        file.write(bytes(128) + b"DICM")
        pydicom.filewriter.write_file_meta_info(file, dataset.file_meta)
        out = pydicom.filebase.DicomBytesIO()
        out.is_implicit_VR, out.is_little_endian = True, True
        pydicom.filewriter.write_dataset(out, dataset)
        file.write(out.getvalue())
    np.testing.assert_array_equal(read(tmp_path / "a"), plain)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    path = write(tmp_path / "a", pixels((64, 64)))
    assert read(path, 64 * 64).shape == (64, 64)
    assert "more than the limit of 4095" in refused(path, 4095)


@pytest.mark.parametrize("form", ["jpeg", "jpeg-2000", "jpeg-ls", "jpeg-lossless"])
def test_a_compressed_image_larger_than_the_header_says_is_not_decoded(tmp_path, form):
    path = in_form(form, tmp_path / "a", radiograph(pixels((64, 48), bits=8), bits=8))
    dataset = pydicom.dcmread(path)
    dataset.Rows = 32
    assert "48x32 pixels by the header, 48x64" in refused(save(path, dataset))


def test_run_lengths_of_more_pixels_than_the_header_says_are_not_unpacked(tmp_path):
    def bomb(raw: bytes) -> bytes:
        return struct.pack("<16L", 2, 64, 10**5, *[0] * 13) + b"\x81\0" * 10**5

    path = save(tmp_path / "a", compressed(radiograph(), RLELossless, bomb))
    assert "run lengths of more pixels" in refused(path)
    none = save(tmp_path / "b", compressed(radiograph(), RLELossless, lambda raw: b"\0" * 100))
    assert "do not begin as they should" in refused(none)


def test_a_codestream_of_a_billion_pixels_is_not_decoded(tmp_path):
    def bomb(raw: bytes) -> bytes:
        size = struct.pack(">8I", 60000, 60000, 0, 0, 60000, 60000, 0, 0)
        header = b"\xff\x4f\xff\x51" + struct.pack(">HH", 41, 0) + size + b"\0\1\x0b\1\1"
        return header + bytes(100)

    path = save(tmp_path / "a", compressed(radiograph(), HTJ2KLossless, bomb))
    assert "60000x60000 by the compressed image" in refused(path)


def test_a_deflated_bomb_is_inflated_within_its_bound(tmp_path):
    dataset = radiograph(**WINDOW)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(tmp_path / "a", dataset)
    data = path.read_bytes()
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    inside = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [packer.compress(inside)]
    parts += [packer.compress(bytes(2**20)) for _ in range(80)]
    path.write_bytes(data[:start] + b"".join(parts) + packer.flush())
    assert path.stat().st_size < 2**20
    assert "once inflated" in refused(path)


@pytest.mark.parametrize("deflated", [False, True])
def test_a_header_of_endless_items_is_refused_soon(tmp_path, deflated):
    path = save(tmp_path / "a", radiograph())
    raw = path.read_bytes()
    start = 144 + struct.unpack_from("<I", raw, 140)[0]
    place = raw.index(b"\x10\x00\x20\x00LO")  # before the Patient ID
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 1_000_000
    sequence = b"\x09\x00\x10\x10SQ\0\0\xff\xff\xff\xff" + items
    body = raw[start:place] + sequence + b"\xfe\xff\xdd\xe0\0\0\0\0" + raw[place:]
    if deflated:
        dataset = radiograph()
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        raw = save(path, dataset).read_bytes()
        start = 144 + struct.unpack_from("<I", raw, 140)[0]
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    path.write_bytes(raw[:start] + body)
    begun = time.process_time()
    assert "damaged" in refused(path) or "endless" in refused(path)
    assert time.process_time() - begun < 5


def test_a_jpeg_of_hundreds_of_scans_is_refused(tmp_path):
    dataset = as_jpeg(radiograph(bits=8))

    def with_scans(raw: bytes) -> bytes:
        return JPEG[:-2] + JPEG[JPEG.index(b"\xff\xda") : -2] * 100 + JPEG[-2:]

    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    JPEG = frame.rstrip(b"\0")
    path = save(tmp_path / "a", compressed(dataset, JPEGBaseline8Bit, with_scans))
    assert "scans" in refused(path)


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


@pytest.mark.parametrize("error", [MemoryError(), None])
def test_a_shortage_is_no_damage(tmp_path, monkeypatch, error):
    """Neither of the header, nor of pixels whose decoder reports something else."""
    path = write(tmp_path / "a")

    def short(*_):
        raise error or RuntimeError("the decoder failed")

    if error:
        with monkeypatch.context() as patch:
            patch.setattr("cxrbench.builtin._dicom.radiograph._identified", short)
            with pytest.raises(MemoryError):
                read_radiograph(str(path), KEY, accept_unknown=True)
    monkeypatch.setattr("cxrbench.builtin._dicom.pixels._decoded", short)
    if error is None:
        assert "cannot be decoded" in refused(path)
        monkeypatch.setattr(
            "cxrbench.builtin._dicom.pixels._require_memory", lambda _: short_of_memory()
        )
    with pytest.raises(MemoryError):
        read(path)


def short_of_memory() -> None:
    raise MemoryError


def test_a_12_bit_jpeg_changes_little(tmp_path):
    plain = read(write(tmp_path / "plain")).astype(int)
    jpeg = save(tmp_path / "a", by_imagecodecs(radiograph(), JPEGExtended12Bit))
    np.testing.assert_allclose(read(jpeg), plain, atol=2)


@pytest.mark.parametrize("form", ["jpeg-lossless", "jpeg-ls"])
def test_signed_values_keep_their_sign_when_they_are_compressed(tmp_path, form):
    window = {"WindowCenter": -200, "WindowWidth": 900}
    plain = read(write(tmp_path / "plain", SIGNED, **window))
    path = in_form(form, tmp_path / "a", radiograph(SIGNED, **window))
    np.testing.assert_array_equal(read(path), plain)


def test_an_unknown_transfer_syntax_is_named_only_if_it_is_the_standards(tmp_path):
    video = compressed(radiograph(), "1.2.840.10008.1.2.4.102", lambda raw: raw)
    assert "MPEG-4" in refused(save(tmp_path / "a", video))
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes().replace(b"2.4.102", b"9.8.711"))
    reason = refused(tmp_path / "b")
    assert "a private one is a transfer syntax that is not supported" in reason
    assert "711" not in reason


def test_a_decoder_that_is_not_installed_is_named(tmp_path, monkeypatch):
    from pydicom.pixels import get_decoder

    advice = 'is not installed: pip install "cxrbench[dicom]"'
    path = in_form("jpeg-2000", tmp_path / "a", radiograph())
    monkeypatch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
    assert refused(path).endswith(advice)
    path = in_form("jpeg-ls", tmp_path / "b", radiograph())
    monkeypatch.setattr("cxrbench.builtin._dicom.header.find_spec", lambda name: None)
    assert refused(path).endswith(advice)


def test_the_stated_size_of_what_is_no_compressed_image():
    for data in (
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xda",
        b"\xff\x4f\xff\x51",
        b"PNG",
        b"\xff\xd8\xff",
    ):
        with pytest.raises(UnreadableImage, match="do not begin"):
            stated_size(data)


FORMS = ("raw", "implicit", "deflated", "lut", "jpeg", *BY_PYDICOM, *BY_IMAGECODECS)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> dict[str, bytes]:
    """One whole file of every form, small enough to be mutated everywhere."""
    folder, found = tmp_path_factory.mktemp("seeds"), {}
    for form in FORMS:
        luts = {"VOILUTSequence": [lut(0, 8, 256)]} if form == "lut" else {}
        dataset = radiograph(pixels((40, 36), bits=8), bits=8, **WINDOW, **luts)
        found[form] = in_form(form, folder / form, dataset).read_bytes()
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_is_refused(seeds, tmp_path, form):
    data = seeds[form]
    for length in (0, 1, 100, 131, 132, 200, len(data) // 2, len(data) - 9):
        (tmp_path / "cut").write_bytes(data[:length])
        assert refused(tmp_path / "cut")


def outcome(reader: Callable[[], object]) -> object:
    """What a reader gives, or its own error, which quotes no other."""
    try:
        return reader()
    except UnreadableImage as error:
        found = error
    assert found.__cause__ is None
    return found


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    # Not JPEG-LS: CharLS 2.4 takes 20 seconds over some damaged images until it refuses them.
    form=st.sampled_from([form for form in FORMS if form != "jpeg-ls"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), min_size=0, max_size=6
    ),
    end=st.floats(0, 1) | st.none(),
)
@pytest.mark.filterwarnings("ignore")
def test_a_mutated_file_is_an_image_or_has_a_reason(seeds, tmp_path, form, changes, end):
    data = bytearray(seeds[form])
    for place, new in changes:
        start = int(place * len(data))
        data[start : start + len(new)] = new[: len(data) - start]
    if end is not None:
        del data[int(end * len(data)) :]
    path = tmp_path / "mutated"
    path.write_bytes(bytes(data))
    image = outcome(lambda: read(path))
    header = outcome(lambda: read_radiograph(str(path), KEY, accept_unknown=True))
    assert isinstance(image, UnreadableImage) or 0 < image.size <= LIMIT
    assert isinstance(header, UnreadableImage) or header.view in ("PA", "AP", "")
    for found in (image, header):
        if isinstance(found, UnreadableImage):
            assert len(str(found).splitlines()) == 1


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
