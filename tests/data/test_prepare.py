"""One decode for everyone; whatever happens in between, the stores end with the same bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from PIL import Image

from cxrbench import Cohort, Dataset, FeatureExtractor, LocalFeatures, UnreadableImage
from cxrbench.data.image_pass import Preparation
from cxrbench.data.images import clahe, fit_image
from cxrbench.data.prepare import Prepared, prepare
from cxrbench.errors import CacheError, DataError, PluginError
from cxrbench.reporting.display import SilentDisplay


class ListDisplay(SilentDisplay):
    """Keeps what was said and counts the steps of the bar."""

    def __init__(self):
        self.said = []
        self.steps = 0
        self.total = 0

    def say(self, text):
        self.said.append(text)

    @contextmanager
    def task(self, description, total):
        self.total = total

        def advance(steps=1, detail=""):
            self.steps += steps

        yield advance


@dataclass(frozen=True)
class Folder(Dataset):
    """Files of a folder, counting what is read."""

    name: ClassVar[str] = "folder"
    counts: ClassVar[Counter[str]] = Counter()

    def load(self):
        raise NotImplementedError

    def read(self, source, *, max_pixels):
        self.counts[source] += 1
        return super().read(source, max_pixels=max_pixels)


@dataclass(frozen=True)
class Corners(FeatureExtractor):
    """Brightest pixels: as many as the image's mean says; sometimes none."""

    name: ClassVar[str] = "corners"
    encodings: ClassVar = {}
    counts: ClassVar[Counter[str]] = Counter()
    image_size: int = 32
    most: int = 9

    def extract(self, image, record):
        assert image.shape == (self.image_size, self.image_size)
        self.counts[record.image_id] += 1
        n = int(image.mean()) % (self.most + 1)
        places = np.argsort(image.ravel(), kind="stable")[::-1][:n]
        y, x = np.divmod(places, self.image_size)
        points = np.stack([x, y, np.ones(n), np.zeros(n)], axis=1).astype(np.float32)
        return LocalFeatures(image[y][:, :8].astype(np.uint8).reshape(n, 8), points)


@dataclass(frozen=True)
class Age(FeatureExtractor):
    """No pixels, no keypoints."""

    name: ClassVar[str] = "age"
    encodings: ClassVar = {}
    image_size: None = None

    def extract(self, image, record):
        assert image is None
        return LocalFeatures(np.array([[record.age, 1.0]], np.float32))


def picture(row: int, side: int = 40) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (side, side + row % 7), np.uint8)


def make_cohort(folder: Path, count: int) -> Cohort:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{row:04}.png" for row in range(count)]
    for row, name in enumerate(names):
        path = folder / name
        if not path.exists():
            Image.fromarray(picture(row)).save(path)
            os.utime(path, ns=(10**18, 10**18))
    return cohort_of([str(folder / name) for name in names])


def cohort_of(sources: list[str]) -> Cohort:
    ids = tuple(Path(source).name for source in sources)
    count = len(ids)
    return Cohort(
        name="pictures",
        label_names=("Mass",),
        image_ids=ids,
        patient_ids=ids,
        labels=np.zeros((count, 1), np.float32),
        ages=np.arange(count, dtype=np.float32),
        sexes=("",) * count,
        views=("",) * count,
        sources=tuple(sources),
    )


def prepared(cohort: Cohort, cache: Path, **options: object) -> Prepared:
    options = {"image_sizes": (32,), "extractors": (Corners(),), **options}
    outside = {
        name: options.pop(name, default)
        for name, default in {
            "dataset": Folder(),
            "max_bad": 0.0,
            "threads": 2,
            "display": SilentDisplay(),
        }.items()
    }
    return prepare(outside.pop("dataset"), cohort, Preparation(**options), cache=cache, **outside)


def bytes_of(cache: Path) -> dict[str, str]:
    return {
        str(path.relative_to(cache)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def keys_of(cache: Path) -> set[str]:
    return {str(path.parent.relative_to(cache)) for path in cache.rglob("complete.json")}


@pytest.fixture(autouse=True)
def _fresh_counts():
    Folder.counts.clear()
    Corners.counts.clear()


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
    Folder.counts.clear()
    for source in cohort.sources:
        Path(source).chmod(0)  # a complete store does not even open them
    second = prepared(cohort, tmp_path / "cache", **wanted)
    assert not Folder.counts
    assert second.digests == first.digests
    np.testing.assert_array_equal(second.pixels[16], first.pixels[16])


def test_only_missing_stores_take_part(cohort, tmp_path):
    prepared(cohort, tmp_path / "cache")
    before = bytes_of(tmp_path / "cache")
    Corners.counts.clear()
    prepared(cohort, tmp_path / "cache", image_sizes=(32, 16), extractors=(Corners(), Age()))
    assert set(Folder.counts.values()) == {2}
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
        assert display.said[0] == "4 of 20 images are left out:"
        assert display.said[1] == "  2: the file is empty (0002.png, 0011.png)"
        display.said.clear()


def test_too_many_unreadable_images_stop_at_the_end_and_at_once_the_second_time(tmp_path):
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


@dataclass(frozen=True)
class Interrupted(Folder):
    """Stops at the image in this row, as Ctrl-C or a full memory does."""

    at: int = -1

    def read(self, source, *, max_pixels):
        if Path(source).name == f"{self.at:04}.png":
            raise KeyboardInterrupt
        return super().read(source, max_pixels=max_pixels)


def test_an_interrupted_pass_goes_on_where_it_was(tmp_path):
    cohort, display = make_cohort(tmp_path / "films", 300), ListDisplay()
    prepared(cohort, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        prepared(cohort, tmp_path / "cache", dataset=Interrupted(at=290))
    assert not keys_of(tmp_path / "cache")
    Folder.counts.clear()
    prepared(cohort, tmp_path / "cache", display=display)
    assert {Path(source).name for source in Folder.counts} == {
        f"{row:04}.png" for row in range(256, 300)
    }
    assert display.said == ["going on at image 257 of 300"]
    assert display.steps == display.total == 300
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


def test_stores_that_got_differently_far_are_finished_together(tmp_path):
    cohort = make_cohort(tmp_path / "films", 300)
    both = {"image_sizes": (32, 16), "extractors": (Corners(),)}
    prepared(cohort, tmp_path / "whole", **both)
    for at, wanted in ((150, {"extractors": ()}), (290, {"image_sizes": ()})):
        with pytest.raises(KeyboardInterrupt):
            prepared(cohort, tmp_path / "cache", dataset=Interrupted(at=at), **wanted)
    Folder.counts.clear()
    Corners.counts.clear()
    prepared(cohort, tmp_path / "cache", **both)
    assert set(Folder.counts.values()) == {1}
    assert set(Corners.counts) == {f"{row:04}.png" for row in range(256, 300)}
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("tail", [b"half a li", b'{"crc32": 0, "chunk": "{}"}\n'])
def test_what_lies_behind_the_last_whole_journal_line_is_cut_off(tail, tmp_path):
    cohort = make_cohort(tmp_path / "films", 200)
    prepared(cohort, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        prepared(cohort, tmp_path / "cache", dataset=Interrupted(at=190))
    for name in ("pixels.bin", "descriptors.bin", "journal.jsonl"):
        for path in (tmp_path / "cache").rglob(name):
            path.write_bytes(path.read_bytes() + tail)
    prepared(cohort, tmp_path / "cache")
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_prepare import Corners, Folder, ListDisplay, make_cohort, prepared
class Slow(Folder):
    def read(self, source, *, max_pixels):
        time.sleep(0.002)
        return super().read(source, max_pixels=max_pixels)
cohort, display = make_cohort(Path({films!r}), {count}), ListDisplay()
print("ready", flush=True)
prepared(cohort, Path({cache!r}), dataset=Slow(), display=display, image_sizes=(16, 32))
print(len(Folder.counts), *display.said, flush=True)
"""


@contextmanager
def worker(tmp_path: Path, cache: Path, count: int):
    """Another process that prepares; it has got as far as the call itself."""
    here, films = str(Path(__file__).parent), str(tmp_path / "films")
    code = WORKER.format(here=here, films=films, cache=str(cache), count=count)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "ready\n"
        yield run


def kill_worker(tmp_path: Path, cache: Path, count: int, after: float) -> bool:
    """Whether the process was still at work when it was killed."""
    with worker(tmp_path, cache, count) as run:
        time.sleep(after)
        at_work = run.poll() is None
        run.send_signal(signal.SIGKILL)
    return at_work


def test_killed_at_any_instant_the_next_call_ends_with_the_same_bytes(tmp_path):
    cohort = make_cohort(tmp_path / "films", 400)
    prepared(cohort, tmp_path / "whole", image_sizes=(16, 32))
    at_work = 0
    for number, after in enumerate(np.random.default_rng(0).uniform(0.0, 0.5, 3)):
        cache = tmp_path / f"cache{number}"
        at_work += kill_worker(tmp_path, cache, 400, after)
        prepared(cohort, cache, image_sizes=(16, 32))
        assert bytes_of(cache) == bytes_of(tmp_path / "whole")
    assert at_work


@pytest.mark.slow
def test_killed_twenty_times_over_it_ends_with_the_same_bytes(tmp_path):
    cohort = make_cohort(tmp_path / "films", 1500)
    prepared(cohort, tmp_path / "whole", image_sizes=(16, 32))
    cache, at_work = tmp_path / "cache0", 0
    for number, after in enumerate(np.random.default_rng(1).uniform(0.0, 0.6, 20)):
        at_work += kill_worker(tmp_path, cache, 1500, after)
        if number % 5 == 4:  # four kills on the way, then to the end
            prepared(cohort, cache, image_sizes=(16, 32))
            assert bytes_of(cache) == bytes_of(tmp_path / "whole")
            cache = tmp_path / f"cache{number}"
    assert at_work >= 15


def test_a_second_process_waits_and_uses_what_the_first_made(tmp_path):
    cohort, display, cache = make_cohort(tmp_path / "films", 400), ListDisplay(), tmp_path / "cache"
    with worker(tmp_path, cache, 400) as first:
        deadline = time.monotonic() + 20
        while not list(cache.rglob("about.json")) and time.monotonic() < deadline:
            time.sleep(0.005)
        result = prepared(cohort, cache, image_sizes=(16, 32), display=display)
        assert first.stdout.readline() == "400\n"
    assert any(text.startswith("waiting for another process") for text in display.said)
    assert not Folder.counts
    assert result.usable.all()
    prepared(cohort, tmp_path / "whole", image_sizes=(16, 32))
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")


# Each damage to a complete store: the file and what becomes of its bytes.
DAMAGES = {
    "short data": ("pixels.bin", lambda data: data[:-1]),
    "long data": ("descriptors.bin", lambda data: data + b"x"),
    "no data": ("keypoints.bin", None),
    "no journal": ("journal.jsonl", None),
    "changed journal": ("journal.jsonl", lambda data: data.replace(b"1", b"2")),
    "marker not json": ("complete.json", lambda data: data[:10]),
    "marker of nothing": ("complete.json", lambda data: b"[]"),
    "changed about": ("about.json", lambda data: data.replace(b"folder", b"holder")),
    "about is binary": ("about.json", lambda data: bytes(range(256))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_said_and_built_again(damage, cohort, tmp_path):
    cache, display = tmp_path / "cache", ListDisplay()
    prepared(cohort, cache)
    whole = bytes_of(cache)
    name, change = DAMAGES[damage]
    path = next(cache.rglob(name))
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    prepared(cohort, cache, display=display)
    assert bytes_of(cache) == whole
    assert len(display.said) == 1
    assert "is damaged and is built again" in display.said[0]
    assert str(path.parent) in display.said[0]


def spoil_journal(store: Path) -> None:
    journal = store / "journal.jsonl"
    journal.write_bytes(b"x" + journal.read_bytes()[1:])


def shorten_data(store: Path) -> None:
    os.truncate(store / "pixels.bin", 200 * 32 * 32)


@pytest.mark.parametrize("damage", [spoil_journal, shorten_data])
def test_a_damaged_incomplete_store_is_said_and_built_again(damage, tmp_path):
    cohort, display = make_cohort(tmp_path / "films", 300), ListDisplay()
    prepared(cohort, tmp_path / "whole", extractors=())
    with pytest.raises(KeyboardInterrupt):
        prepared(cohort, tmp_path / "cache", extractors=(), dataset=Interrupted(at=290))
    (journal,) = (tmp_path / "cache").rglob("journal.jsonl")
    damage(journal.parent)
    prepared(cohort, tmp_path / "cache", extractors=(), display=display)
    assert "is damaged and is built again" in display.said[0]
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


def test_a_store_that_is_rebuilt_does_not_pull_the_pages_from_under_a_reader(cohort, tmp_path):
    reader = prepared(cohort, tmp_path / "cache").pixels[32]
    before = reader.copy()
    for path in (tmp_path / "cache").rglob("complete.json"):
        path.write_text("{}")
    prepared(cohort, tmp_path / "cache")
    np.testing.assert_array_equal(reader, before)


def test_stores_that_saw_different_images_are_not_mixed(cohort, tmp_path):
    prepared(cohort, tmp_path / "cache")
    path = Path(cohort.sources[4])
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # the same size, and below the same time
    path.write_bytes(data)
    os.utime(path, ns=(10**18, 10**18))
    with pytest.raises(CacheError, match=r"two versions of image '0004\.png'"):
        prepared(cohort, tmp_path / "cache", image_sizes=(32, 16), max_bad=1.0)


def test_a_disk_that_fills_up_says_how_much_is_needed_and_where(tmp_path, monkeypatch):
    cohort = make_cohort(tmp_path / "films", 300)
    prepared(cohort, tmp_path / "whole")
    room, write = [200_000], os.write

    def limited(descriptor, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(len(data), room[0])
        room[0] -= taken
        return write(descriptor, data[:taken])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", limited)
        with pytest.raises(CacheError, match=r"0\.[12] MB free") as caught:
            prepared(cohort, tmp_path / "cache")
    assert str(tmp_path / "cache") in str(caught.value)
    prepared(cohort, tmp_path / "cache")
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


def test_a_disk_without_room_is_refused_before_anything_is_read(cohort, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 20 * 32 * 32 - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(CacheError, match="not enough room"):
        prepared(cohort, tmp_path / "cache")
    assert not Folder.counts


def test_a_really_full_file_system(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        cohort = make_cohort(tmp_path / "films", 300)
        many = Corners(image_size=32, most=9)
        with pytest.raises(CacheError, match="not enough room"):
            prepared(cohort, disk, image_sizes=(35,), extractors=(many, Age()))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_cache_that_is_no_folder_is_an_error(cohort, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match="--cache"):
        prepared(cohort, tmp_path / "cache")


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


@dataclass(frozen=True)
class Flaky(Folder):
    """A disk that cannot read some images at the moment."""

    broken: ClassVar[set[str]] = set()

    def read(self, source, *, max_pixels):
        if Path(source).name in self.broken:
            self.counts[source] += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(source, max_pixels=max_pixels)


@pytest.fixture
def flaky():
    Flaky.broken |= {"0200.png"}
    yield Flaky()
    Flaky.broken.clear()


def test_an_image_that_could_not_be_read_is_tried_again_by_the_next_call(flaky, tmp_path):
    cohort, display, cache = make_cohort(tmp_path / "films", 300), ListDisplay(), tmp_path / "cache"
    prepared(cohort, tmp_path / "whole")
    first = prepared(cohort, cache, dataset=flaky, max_bad=0.01)
    assert [(e.image_id, e.reason) for e in first.excluded] == [
        ("0200.png", "cannot be read: Input/output error")
    ]
    pixels, before = first.pixels[32], first.pixels[32].copy()
    Folder.counts.clear()
    still = prepared(cohort, cache, dataset=flaky, max_bad=0.01)
    assert still.made == frozenset()
    assert Folder.counts == {cohort.sources[200]: 1}  # tried, and nothing else was read
    Flaky.broken.clear()
    Folder.counts.clear()
    healed = prepared(cohort, cache, dataset=flaky, display=display)
    assert healed.usable.all()
    assert display.said[-1] == "going on at image 129 of 300"
    assert cohort.sources[127] not in Folder.counts
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")
    np.testing.assert_array_equal(pixels, before)  # a reader's pages were not cut off


def test_an_image_that_only_one_store_could_not_read_does_not_stop_the_next_call(flaky, tmp_path):
    cohort, cache = make_cohort(tmp_path / "films", 300), tmp_path / "cache"
    prepared(cohort, cache, dataset=flaky, max_bad=0.01, extractors=())
    Flaky.broken.clear()
    result = prepared(cohort, cache, dataset=flaky)
    assert result.usable.all()
    prepared(cohort, tmp_path / "whole")
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")
    Flaky.broken |= {"0010.png"}
    with pytest.raises(CacheError, match=r"two versions of image '0010\.png'"):
        prepared(cohort, cache, dataset=flaky, image_sizes=(16,), max_bad=0.01)
    Flaky.broken.clear()
    assert prepared(cohort, cache, dataset=flaky, image_sizes=(16,)).usable.all()


@pytest.mark.parametrize("step", ["copy", "remove", "rename"])
def test_killed_while_a_store_is_cut_it_ends_with_the_same_bytes(
    step, flaky, tmp_path, monkeypatch
):
    cohort, cache = make_cohort(tmp_path / "films", 300), tmp_path / "cache"
    prepared(cohort, tmp_path / "whole")
    prepared(cohort, cache, dataset=flaky, max_bad=0.01)
    Flaky.broken.clear()

    def killed(*arguments, **more):
        raise KeyboardInterrupt

    place = {
        "copy": "cxrbench.data.store_writer._copy_bytes",
        "remove": "cxrbench.data.store_writer.remove_store",
        "rename": "pathlib.Path.rename",
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(KeyboardInterrupt):
            prepared(cohort, cache, dataset=flaky)
    prepared(cohort, cache, dataset=flaky)
    remains = {name for name in bytes_of(cache) if ".tmp/" in name}
    assert {n: d for n, d in bytes_of(cache).items() if n not in remains} == bytes_of(
        tmp_path / "whole"
    )
