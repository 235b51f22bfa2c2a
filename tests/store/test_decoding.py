"""Every ugly file is an array or an `UnreadableImage`; shapes and boxes agree."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cxrbench.errors import PluginError, UnreadableImage
from cxrbench.interfaces import Box
from cxrbench.store.decoding import clahe, decode, fit_box, fit_image
from cxrbench.store.grey import to_grey8
from cxrbench.store.image_pass import in_order
from cxrbench.store.limits import MemoryBudget

LIMIT = 1_000_000


def film(height: int = 48, width: int = 64, dtype: type = np.uint8) -> np.ndarray:
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(3)
    ramp = np.linspace(0, top, height * width).reshape(height, width)
    return np.clip(ramp + rng.normal(0, top / 20, ramp.shape), 0, top).astype(dtype)


def encoded(pixels: np.ndarray | Image.Image, format: str = "PNG", **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, compressed: bytes, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlace)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", compressed) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def one_line(error: Exception) -> None:
    assert str(error)
    assert "\n" not in str(error)


PNG = encoded(film())
JPEG = encoded(film(), "JPEG")


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_8_bit_grey_is_unchanged(format):
    np.testing.assert_array_equal(decode(encoded(film(), format), max_pixels=LIMIT), film())


@pytest.mark.parametrize("format", ["JPEG", "JPEG2000", "WEBP"])
def test_lossy_formats_are_read(format):
    decoded = decode(encoded(film(), format), max_pixels=LIMIT)
    assert decoded.shape == film().shape
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - film()).mean() < 16


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_is_scaled_by_its_own_range(format):
    deep = (film(dtype=np.uint16) // 16 + 1000).astype(np.uint16)  # 12 bits and an offset
    low, high = int(deep.min()), int(deep.max())
    expected = np.rint((deep.astype(float) - low) / (high - low) * 255)
    np.testing.assert_array_equal(decode(encoded(deep, format), max_pixels=LIMIT), expected)


def test_16_bit_of_one_value_is_black():
    flat = np.full((32, 32), 700, np.uint16)
    assert not decode(encoded(flat), max_pixels=LIMIT).any()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_of_any_colour_type_keeps_its_depth(channels):
    deep = (film(dtype=np.uint16) // 128).astype(np.uint16)  # 9 bits: one value as 8-bit
    planes = [deep] * (3 if channels > 2 else 1)
    if channels in (2, 4):
        planes.append(np.full_like(deep, 65535))
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.stack(planes, axis=-1))
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", deep.shape[1], deep.shape[0], 16, kind, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(raw))
        + png_chunk(b"IEND", b"")
    )
    decoded = decode(data, max_pixels=LIMIT)
    scaled = (deep.astype(float) - deep.min()) / (int(deep.max()) - int(deep.min())) * 255
    assert np.abs(decoded - scaled).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_colour_becomes_luminance(format):
    colour = np.zeros((32, 32, 3), np.uint8)
    colour[:, :16], colour[:, 16:] = (200, 0, 0), (0, 0, 200)
    decoded = decode(encoded(colour, format), max_pixels=LIMIT)
    assert decoded[0, 0] == round(200 * 0.299)
    assert decoded[0, 31] == round(200 * 0.114)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_composited_over_black(mode):
    grey = Image.fromarray(np.full((32, 32), 100, np.uint8))
    image = grey.convert(mode)
    alpha = np.full((32, 32), 255, np.uint8)
    alpha[:, 8:16], alpha[:, 16:] = 128, 0
    image.putalpha(Image.fromarray(alpha))
    decoded = decode(encoded(image), max_pixels=LIMIT)
    assert [decoded[0, x] for x in (0, 8, 16)] == [100, 50, 0]


def test_opaque_rgba_of_a_grey_film_is_that_film():
    image = Image.fromarray(film()).convert("RGBA")
    np.testing.assert_array_equal(decode(encoded(image), max_pixels=LIMIT), film())


def test_palette_and_1_bit_images():
    palette = Image.fromarray(film()).convert("P")
    np.testing.assert_array_equal(decode(encoded(palette), max_pixels=LIMIT), film())
    bits = Image.fromarray(film() > 128)
    expected = np.where(film() > 128, 255, 0)
    np.testing.assert_array_equal(decode(encoded(bits), max_pixels=LIMIT), expected)


def test_transparent_palette_colour_is_black():
    palette = Image.fromarray(np.repeat([[10] * 16 + [250] * 16], 32, 0).astype(np.uint8))
    decoded = decode(encoded(palette.convert("P"), transparency=250), max_pixels=LIMIT)
    assert decoded[0, 0] == 10
    assert decoded[0, 31] == 0


def test_cmyk_jpeg_is_read():
    image = Image.fromarray(film()).convert("RGB").convert("CMYK")
    decoded = decode(encoded(image, "JPEG", quality=95), max_pixels=LIMIT)
    assert np.abs(decoded.astype(int) - film()).mean() < 8


def test_interlaced_png_is_read():
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
    passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = (row for y, x, dy, dx in passes for row in film()[y::dy, x::dx])
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    data = png_of(64, 48, zlib.compress(raw), interlace=1)
    np.testing.assert_array_equal(decode(data, max_pixels=LIMIT), film())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged"),
        (PNG[:-1], "truncated"),
        (PNG[:-12], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:20], "damaged"),
        (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], "checksum"),
        (png_of(64, 48, b"no zlib stream at all"), "damaged"),
        (png_of(64, 48, zlib.compress(bytes(100))), "truncated"),
        (encoded(np.zeros((1, 1), np.uint8)), "1x1 pixels"),
        (encoded(np.zeros((15, 400), np.uint8)), "400x15 pixels"),
        (encoded(np.zeros((1001, 1000), np.uint8)), "more than the limit of 1000000"),
        (encoded(np.zeros((1001, 1000), np.uint8), "JPEG"), "more than the limit of 1000000"),
    ],
)
def test_what_cannot_be_used_has_a_reason_of_one_line(data, reason):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode(data, max_pixels=LIMIT)
    one_line(caught.value)


def test_a_bomb_is_refused_by_its_header_alone():
    bomb = png_of(60_000, 60_000, b"never looked at")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImage, match="60000x60000"):
            decode(bomb, max_pixels=100_000_000)


def test_max_pixels_alone_decides_how_large_is_too_large(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(JPEG, max_pixels=LIMIT).shape == film().shape


def test_nothing_is_written_to_standard_error(capfd):
    for data in (PNG, JPEG):
        for cut in range(1, len(data), max(1, len(data) // 40)):
            with pytest.raises(UnreadableImage):
                decode(data[:cut], max_pixels=LIMIT)
            changed = bytearray(data)
            changed[cut] ^= 64
            with contextlib.suppress(UnreadableImage):
                decode(bytes(changed), max_pixels=LIMIT)
    assert capfd.readouterr().err == ""


@settings(max_examples=150, deadline=None)
@given(
    source=st.sampled_from([PNG, JPEG, encoded(film(), "TIFF"), encoded(film(), "BMP")]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_any_damage_gives_an_array_or_a_reason(source, cut, flips):
    data = bytearray(source[: round(cut * len(source))])
    for place, mask in flips:
        if data:
            data[int(place * len(data))] ^= mask
    try:
        decoded = decode(bytes(data), max_pixels=LIMIT)
    except UnreadableImage as error:
        one_line(error)
    else:
        assert decoded.ndim == 2
        assert decoded.dtype == np.uint8


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
@pytest.mark.filterwarnings("ignore")
def test_random_bytes_are_never_an_image(data):
    with pytest.raises(UnreadableImage):
        decode(data, max_pixels=LIMIT)


def test_to_grey8_refuses_what_is_no_image():
    with pytest.raises(PluginError, match=r"\(4, 4, 2\)"):
        to_grey8(np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(UnreadableImage, match="not finite"):
        to_grey8(np.array([[0.0, np.nan]]))


def test_clahe_is_opencvs():
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(film())
    np.testing.assert_array_equal(clahe(film()), expected)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (64, 64), (20, 20), (16, 3000)])
def test_fitted_images_are_square(shape, fit):
    fitted = fit_image(film(*shape), 64, fit)
    assert fitted.shape == (64, 64)
    assert fitted.dtype == np.uint8


def test_shrinking_averages_areas():
    np.testing.assert_array_equal(
        fit_image(film(128, 128), 64, "stretch"),
        cv2.resize(film(128, 128), (64, 64), interpolation=cv2.INTER_AREA),
    )


def test_padding_is_black_centred_and_keeps_proportions():
    fitted = fit_image(np.full((100, 50), 200, np.uint8), 64, "pad")
    assert (fitted[:, 16:48] == 200).all()
    assert not fitted[:, :16].any()
    assert not fitted[:, 48:].any()


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("shape", [(200, 100), (100, 200), (40, 30)])
def test_a_box_follows_its_pixels(shape, fit):
    height, width = shape
    box = Box("a", "Mass", x=width * 0.2, y=height * 0.4, width=width * 0.5, height=height * 0.3)
    image = np.zeros(shape, np.uint8)
    left, top = int(box.x), int(box.y)
    image[top : top + int(box.height), left : left + int(box.width)] = 255
    fitted = fit_box(box, (width, height), 128, fit)
    rows, columns = np.nonzero(fit_image(image, 128, fit) > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    told = [fitted.x, fitted.y, fitted.x + fitted.width, fitted.y + fitted.height]
    np.testing.assert_allclose(found, told, atol=1.01)
    assert (fitted.image_id, fitted.label) == ("a", "Mass")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_viewers_turn_it(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(film(20, 33), format, exif=exif, **options)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L")
    decoded = decode(data, max_pixels=LIMIT)
    np.testing.assert_array_equal(decoded, np.asarray(shown))
    assert decoded.flags.c_contiguous
    assert decoded.shape == ((33, 20) if orientation > 4 else (20, 33))


def test_an_orientation_that_does_not_exist_changes_nothing():
    exif = Image.Exif()
    exif[0x0112] = 77
    decoded = decode(encoded(film(), "PNG", exif=exif), max_pixels=LIMIT)
    np.testing.assert_array_equal(decoded, film())


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("marker", [65535, 0])
def test_a_small_marker_does_not_cost_a_deep_image_its_grey_levels(format, marker):
    deep = (film(256, 256, np.uint16) // 16 + 20_000).astype(np.uint16)  # 12 bits of 16
    plain = decode(encoded(deep, format), max_pixels=LIMIT)
    marked = deep.copy()
    marked[5:17, 5:17] = marker
    decoded = decode(encoded(marked, format), max_pixels=LIMIT)
    assert (decoded[5:17, 5:17] == (255 if marker else 0)).all()
    rest = np.ones(deep.shape, bool)
    rest[5:17, 5:17] = False
    assert len(np.unique(decoded[rest])) > 200
    assert np.corrcoef(decoded[rest], plain[rest])[0, 1] > 0.999


def test_grey_levels_far_apart_that_many_pixels_have_are_kept():
    deep = np.full((64, 64), 1000, np.uint16)
    deep[::2], deep[:, :8] = 1010, 60_000  # an eighth of the image
    decoded = decode(encoded(deep), max_pixels=LIMIT)
    assert sorted(np.unique(decoded)) == [0, 255]


def test_bands_change_no_value():
    tall = film(700, 40, np.uint16)
    colour = np.stack([tall, tall // 2, tall // 3, np.full_like(tall, 40_000)], axis=2)
    luminance = cv2.cvtColor(np.ascontiguousarray(colour[:, :, :3]), cv2.COLOR_RGB2GRAY)
    over_black = np.rint(luminance * (40_000 / 65535)).astype(np.uint16)
    low, high = int(over_black.min()), int(over_black.max())
    expected = np.rint((over_black.astype(float) - low) * (255 / (high - low)))
    np.testing.assert_array_equal(to_grey8(colour), expected)
    floats = tall.astype(np.float32)
    scaled = np.rint((floats.astype(float) - floats.min()) * (255.0 / np.ptp(floats.astype(float))))
    np.testing.assert_array_equal(to_grey8(floats), scaled)


def rgba16(side: int) -> bytes:
    rows = zlib.compress((b"\0" + bytes(8 * side)) * side, 9)
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def progressive(scans: int, mode: str = "RGB") -> bytes:
    data = encoded(Image.fromarray(film()).convert(mode), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    last = data.index(b"\xff\xc4", first) if b"\xff\xc4" in data[first:] else len(data) - 2
    return data[:last] + data[first:last] * scans + data[last:]


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (lambda: rgba16(100), 19_999),
        (lambda: encoded(Image.fromarray(film()).convert("RGB"), "JPEG", progressive=True), 7_679),
        (lambda: encoded(Image.fromarray(film()).convert("RGB"), "JPEG2000"), 12_287),
    ],
    ids=["RGBA of 16 bits", "progressive JPEG", "JPEG 2000"],
)
def test_an_image_may_take_the_memory_of_as_many_grey_pixels_while_it_is_decoded(make, limit):
    data = make()
    with pytest.raises(UnreadableImage, match="bytes while decoding: more than the limit"):
        decode(data, max_pixels=limit)
    assert decode(data, max_pixels=limit + 1).shape in (film().shape, (100, 100))


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_it_is_decoded():
    with pytest.raises(UnreadableImage, match=r"scans: more than the limit of 64"):
        decode(progressive(100), max_pixels=LIMIT)
    assert decode(progressive(0), max_pixels=LIMIT).shape == film().shape


def test_a_file_far_larger_than_its_pixels_is_refused_soon():
    many = png_chunk(b"tEXt", b"") * 3_000_000
    begun = time.process_time()
    with pytest.raises(UnreadableImage, match="bytes for 64x48 pixels"):
        decode(PNG[:33] + many + PNG[33:], max_pixels=LIMIT)
    with pytest.raises(UnreadableImage, match="bytes for 64x48 pixels"):
        decode(JPEG + bytes(2**25 + 30_000), max_pixels=LIMIT)
    assert time.process_time() - begun < 2


def test_threads_share_the_memory_of_decoders():
    budget, active, most = MemoryBudget(100), [0], [0]
    lock = threading.Lock()

    def work(size: int) -> None:
        with budget.reserve(size):
            with lock:
                active[0] += size
                most[0] = max(most[0], active[0])
            time.sleep(0.002)
            with lock:
                active[0] -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [40, 60, 10, 100, 30, 50] * 5))
        assert most[0] <= 100
        pool.submit(work, 10**12).result(timeout=10)  # alone, not never


def test_the_first_item_is_done_before_the_threads_start():
    seen: list[tuple[int, bool]] = []

    def work(item: int) -> int:
        seen.append((item, threading.current_thread() is threading.main_thread()))
        return item

    assert list(in_order(work, range(5), 3)) == [0, 1, 2, 3, 4]
    assert seen[0] == (0, True)
    assert not any(main for _, main in seen[1:])
