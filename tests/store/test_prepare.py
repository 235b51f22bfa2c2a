"""One decode for everyone, and a reason for every image that is left out."""

from __future__ import annotations

import hashlib
import os
import sys
import textwrap
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from prepared_films import (
    Age,
    Corners,
    Folder,
    ListDisplay,
    bytes_of,
    cohort_of,
    compare_nothing,
    forget_counts,
    keys_of,
    make_cohort,
    prepared,
)

from cxrbench import Cohort, Dataset, FeatureExtractor, LocalFeatures, UnreadableImage
from cxrbench.errors import DataError, PluginError
from cxrbench.store.decoding import clahe, fit_image


@pytest.fixture(autouse=True)
def _fresh_counts():
    forget_counts()


@pytest.fixture
def cohort(tmp_path):
    return make_cohort(tmp_path / "films", 20)


def test_stores_hold_what_direct_calls_give(cohort, tmp_path):
    corners = (Corners(), Corners(image_size=24, most=3))
    result = prepared(
        cohort,
        tmp_path / "cache",
        image_sizes=(32, 16),
        extractors=(*corners, Age()),
        clahe=True,
        fit="pad",
    )
    assert result.usable.all()
    assert result.excluded == ()
    counts = []
    for row, source in enumerate(cohort.sources):
        data = Path(source).read_bytes()
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert result.digests[row] == hashlib.sha256(data).hexdigest()
        assert tuple(result.shapes[row]) == grey.shape
        for size in (32, 16):
            np.testing.assert_array_equal(
                result.pixels[size][row], fit_image(clahe(grey), size, "pad")
            )
        for extractor in corners:
            image = fit_image(clahe(grey), extractor.image_size, "pad")
            direct = extractor.extract(image, cohort.record(row))
            store = result.features[extractor]
            np.testing.assert_array_equal(store.descriptors(row), direct.descriptors)
            np.testing.assert_array_equal(store.keypoints(row), direct.keypoints)
            assert store.descriptors(row).dtype == np.uint8
            counts.append(len(direct.descriptors))
        age = result.features[Age()]
        np.testing.assert_array_equal(age.descriptors(row), np.array([[row, 1]], np.float32))
        assert age.keypoints(row) is None
    assert 0 in counts
    assert max(counts) > 1


def test_what_comes_back_is_read_only_and_has_no_other_rows(cohort, tmp_path):
    result = prepared(cohort, tmp_path / "cache")
    store = result.features[Corners()]
    with pytest.raises(ValueError, match="read-only"):
        result.pixels[32][0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        store.descriptors(int(store.counts.argmax()))[:] = 0
    assert len(store) == len(cohort)
    for row in (-1, len(cohort)):
        with pytest.raises(IndexError):
            store.descriptors(row)


def test_one_decode_serves_everyone_and_a_second_call_needs_none(cohort, tmp_path):
    display = ListDisplay()
    wanted = {"image_sizes": (32, 16), "extractors": (Corners(), Corners(24), Age())}
    first = prepared(cohort, tmp_path / "cache", display=display, **wanted)
    assert set(Folder.counts.values()) == {1}
    assert (display.steps, display.total) == (20, 20)
    forget_counts()
    second = prepared(cohort, tmp_path / "cache", **wanted)
    assert Folder.counts.total() == 1  # to see whether it is the image of before
    assert not Corners.counts
    assert second.digests == first.digests
    np.testing.assert_array_equal(second.pixels[16], first.pixels[16])


def test_only_missing_stores_take_part(cohort, tmp_path):
    prepared(cohort, tmp_path / "cache")
    before = bytes_of(tmp_path / "cache")
    forget_counts()
    prepared(cohort, tmp_path / "cache", image_sizes=(32, 16), extractors=(Corners(), Age()))
    assert Folder.counts.total() == len(cohort) + 1  # one to compare it with that of before
    assert not Corners.counts
    assert before.items() <= bytes_of(tmp_path / "cache").items()


def test_bytes_do_not_depend_on_threads(tmp_path):
    cohort = make_cohort(tmp_path / "films", 200)
    for threads in (1, 3):
        prepared(cohort, tmp_path / f"cache{threads}", threads=threads)
    assert bytes_of(tmp_path / "cache1") == bytes_of(tmp_path / "cache3")


def test_another_parameter_is_another_store(cohort, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    variants = [
        {},
        {"fit": "pad"},
        {"clahe": True},
        {"max_pixels": 5000},
        {"image_sizes": (33,), "extractors": (Corners(most=8),)},
    ]
    seen: set[str] = set()
    for options in variants:
        prepared(cohort, cache, **options)
        assert len(keys_of(cache) - seen) == 2, options
        seen = keys_of(cache)
    other_order = cohort_of(list(reversed(cohort.sources)))
    os.utime(cohort.sources[3], ns=(10**18, 10**18 + 1))
    for changed in (other_order, cohort):
        prepared(changed, cache)
        assert len(keys_of(cache) - seen) == 2
        seen = keys_of(cache)
    monkeypatch.setattr(Folder, "name", "another")
    prepared(cohort, cache)
    assert len(keys_of(cache) - seen) == 2
    seen = keys_of(cache)
    monkeypatch.setattr(cv2, "__version__", "0.0.1")
    prepared(cohort, cache)
    assert len(keys_of(cache) - seen) == 2


def test_edited_extractor_code_is_another_store(cohort, tmp_path, monkeypatch):
    code = textwrap.dedent("""
        from dataclasses import dataclass
        import numpy as np
        from cxrbench import FeatureExtractor, LocalFeatures

        @dataclass(frozen=True)
        class Constant(FeatureExtractor):
            name = "constant"
            encodings = {}
            image_size: None = None

            def extract(self, image, record):
                return LocalFeatures(np.full((1, 2), VALUE, np.uint8))
    """)
    monkeypatch.syspath_prepend(tmp_path)
    for value in ("3", "44"):
        (tmp_path / "constant_plugin.py").write_text(code.replace("VALUE", value))
        sys.modules.pop("constant_plugin", None)
        extractor = __import__("constant_plugin").Constant()
        result = prepared(cohort, tmp_path / "cache", extractors=(extractor,))
        assert (result.features[extractor].descriptors(0) == int(value)).all()


def damaged_cohort(tmp_path: Path) -> Cohort:
    cohort = make_cohort(tmp_path / "films", 20)
    sources = [Path(source) for source in cohort.sources]
    sources[2].write_bytes(b"")
    sources[5].write_bytes(sources[5].read_bytes()[:90])
    sources[7].unlink()
    sources[11].write_bytes(b"")
    return cohort


def test_unreadable_images_are_left_out_with_a_reason_and_a_count(tmp_path):
    cohort, display = damaged_cohort(tmp_path), ListDisplay()
    for _ in range(2):  # from the pass, then from complete stores alone
        result = prepared(cohort, tmp_path / "cache", max_bad=0.2, display=display)
        assert {e.image_id: e.reason.split(":")[0] for e in result.excluded} == {
            "0002.png": "the file is empty",
            "0005.png": "truncated",
            "0007.png": "cannot be read",
            "0011.png": "the file is empty",
        }
        assert str(tmp_path) not in str(result.excluded)
        assert np.flatnonzero(~result.usable).tolist() == [2, 5, 7, 11]
        assert not result.pixels[32][[2, 5, 7, 11]].any()
        assert result.features[Corners()].descriptors(5).shape == (0, 8)
        assert display.said[0] == "4 of 20 images are excluded:"
        assert display.said[1] == "  2: the file is empty (0002.png, 0011.png)"
        display.said.clear()


def test_too_many_unreadable_images_stop_at_the_end_and_at_once_the_second_time(
    tmp_path, monkeypatch
):
    compare_nothing(monkeypatch)
    cohort = damaged_cohort(tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match=r"4 of 20 .*(?s:.*)0002\.png(?s:.*)--max-bad"):
            prepared(cohort, tmp_path / "cache", max_bad=0.19)
    assert Folder.counts[cohort.sources[0]] == 1
    assert prepared(cohort, tmp_path / "cache", max_bad=0.2).usable.sum() == 16


def test_a_cohort_without_a_usable_image_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 1"):
        prepared(cohort_of([str(tmp_path / "a.png")]), tmp_path / "cache", max_bad=1.0)
    with pytest.raises(DataError, match="has no images"):
        prepared(cohort_of([]), tmp_path / "cache")


def test_recipes_that_look_at_no_pixel_leave_out_the_same_images(tmp_path):
    cohort = damaged_cohort(tmp_path)
    with_pixels = prepared(cohort, tmp_path / "cache", max_bad=0.5)
    for extractors in ((), (Age(),)):
        without = prepared(
            cohort, tmp_path / "cache", image_sizes=(), extractors=extractors, max_bad=0.5
        )
        assert without.excluded == with_pixels.excluded
        assert without.digests == with_pixels.digests


@dataclass(frozen=True)
class Arrays(Dataset):
    """Pixels that the dataset decodes by itself."""

    name: ClassVar[str] = "arrays"

    def load(self):
        raise NotImplementedError

    def read(self, source, *, max_pixels):
        if source == "odd":
            raise UnreadableImage("multi-frame")
        if source == "broken":
            raise ZeroDivisionError("oops")
        if source == "float":
            return np.zeros((32, 32))
        shape = {"tiny": (4, 40), "huge": (2000, 2000)}.get(source, (32, 40))
        return np.linspace(0, 4095, shape[0] * shape[1]).reshape(shape).astype(np.uint16)

    def signature(self, source):
        return source


def test_datasets_may_return_pixels(tmp_path):
    cohort = cohort_of(["deep", "odd", "tiny", "huge"])
    result = prepared(cohort, tmp_path / "cache", dataset=Arrays(), max_bad=0.75, max_pixels=10_000)
    assert [e.reason for e in result.excluded] == [
        "multi-frame",
        "40x4 pixels: a side is under 16",
        "2000x2000 pixels: more than the limit of 10000",
    ]
    assert (result.pixels[32][0].min(), result.pixels[32][0].max()) == (0, 255)
    assert len(result.digests[0]) == 64


@pytest.mark.parametrize(("source", "told"), [("broken", "oops"), ("float", "float64")])
def test_a_dataset_that_breaks_its_promise_is_named(source, told, tmp_path):
    with pytest.raises(PluginError, match=rf"'arrays'.*'{source}'(?s:.*){told}"):
        prepared(cohort_of(["deep", source]), tmp_path / "cache", dataset=Arrays())


@dataclass(frozen=True)
class Wrong(FeatureExtractor):
    name: ClassVar[str] = "wrong"
    encodings: ClassVar = {}
    how: str = "raises"
    image_size: int = 16

    def extract(self, image, record):
        good, points = np.zeros((2, 8), np.float32), np.zeros((2, 4), np.float32)
        if record.image_id != "0004.png":
            return LocalFeatures(good, points)
        if self.how == "raises":
            raise ZeroDivisionError("division by zero")
        return {
            "none": None,
            "flat": LocalFeatures(good[0]),
            "float64": LocalFeatures(good.astype(np.float64), points),
            "nan": LocalFeatures(good * np.nan, points),
            "width": LocalFeatures(good[:, :7], points),
            "dtype": LocalFeatures(good.astype(np.uint8), points),
            "no points": LocalFeatures(good),
            "points": LocalFeatures(good, points[:1]),
        }[self.how]


@pytest.mark.parametrize(
    "how",
    ["raises", "none", "flat", "float64", "nan", "width", "dtype", "no points", "points"],
)
def test_an_extractor_that_breaks_its_promise_is_named(how, cohort, tmp_path):
    with pytest.raises(PluginError, match="'wrong'") as caught:
        prepared(cohort, tmp_path / "cache", extractors=(Wrong(how),))
    if how == "raises":
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    if how not in ("width", "dtype", "no points"):
        assert "0004.png" in str(caught.value)
    assert cv2.getNumThreads() != 1 or os.cpu_count() == 1


def test_memory_is_bounded_by_a_window_of_images(tmp_path):
    """No more images are read ahead of the slowest one than the window holds."""
    cohort = make_cohort(tmp_path / "films", 100)
    release = threading.Event()

    @dataclass(frozen=True)
    class FirstIsSlow(Folder):
        def read(self, source, *, max_pixels):
            if source == cohort.sources[0]:
                release.wait(0.5)
            return super().read(source, max_pixels=max_pixels)

    class Watching(ListDisplay):
        seen = 0

        @contextmanager
        def task(self, description, total):
            def advance(steps=1, detail=""):
                self.seen = self.seen or (steps and len(Folder.counts))

            yield advance

    display = Watching()
    prepared(cohort, tmp_path / "cache", dataset=FirstIsSlow(), threads=2, display=display)
    assert 1 <= display.seen <= 12


REAL = os.environ.get("CXRBENCH_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
def test_real_films(tmp_path):
    films = sorted((Path(REAL) / "nih-mini" / "xray_images").iterdir())[::40]
    cohort = cohort_of([str(film) for film in films])
    result = prepared(cohort, tmp_path, image_sizes=(224,), extractors=())
    assert result.usable.all()
    assert (result.shapes == 1024).all()
    for row, film in enumerate(films):
        grey = cv2.imread(str(film), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(
            result.pixels[224][row], cv2.resize(grey, (224, 224), interpolation=cv2.INTER_AREA)
        )
