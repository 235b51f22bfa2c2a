"""Images that could not be read for the moment: tried again, with the same bytes in the end."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from prepared_films import (
    Folder,
    ListDisplay,
    bytes_of,
    compare_nothing,
    forget_counts,
    make_cohort,
    prepared,
)

from cxrbench import Dataset, Exclusion, UnreadableImage
from cxrbench.errors import CacheError, DataError, OutOfMemory
from cxrbench.store.decoding import decode


@pytest.fixture(autouse=True)
def _fresh_counts():
    forget_counts()


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


def test_an_image_that_could_not_be_read_is_tried_again_by_the_next_call(
    flaky, tmp_path, monkeypatch
):
    compare_nothing(monkeypatch)
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
    assert display.said[-1] == "continuing at image 129 of 300"
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
        "copy": "cxrbench.store.stores._copy_bytes",
        "remove": "cxrbench.store.stores.remove_store",
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


@dataclass(frozen=True)
class Plain(Dataset):
    """Files, read as they are."""

    name: ClassVar[str] = "plain"

    def load(self):
        raise NotImplementedError


def test_a_pipe_is_not_waited_for_and_an_endless_file_is_not_read(tmp_path):
    cohort = make_cohort(tmp_path / "films", 20)
    pipe, large = (Path(cohort.sources[row]) for row in (3, 7))
    pipe.unlink()
    os.mkfifo(pipe)
    os.truncate(large, 10**12)
    result = prepared(cohort, tmp_path / "cache", dataset=Plain(), max_bad=0.2)
    reasons = {one.image_id: one.reason for one in result.excluded}
    assert reasons["0003.png"] == "cannot be read: not a file"
    assert "a file of 1000000000000 bytes" in reasons["0007.png"]


SHORTAGES = {
    "memory": MemoryError(),
    "file handles": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "all file handles": OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
    "memory of the system": OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
}


@dataclass(frozen=True)
class Short(Folder):
    """A machine that lacks something when it comes to one image."""

    why: str = ""

    def read(self, source, *, max_pixels):
        if Path(source).name == "0200.png":
            raise SHORTAGES[self.why]
        return super().read(source, max_pixels=max_pixels)


@pytest.mark.parametrize("why", SHORTAGES)
def test_a_shortage_stops_the_command_and_is_no_property_of_the_image(why, tmp_path):
    cohort, cache = make_cohort(tmp_path / "films", 300), tmp_path / "cache"
    prepared(cohort, tmp_path / "whole")
    with pytest.raises((OutOfMemory, DataError), match=r"'0200\.png'(?s:.*)run the same"):
        prepared(cohort, cache, dataset=Short(why=why), max_bad=1.0)
    assert prepared(cohort, cache).usable.all()
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")


class OpenCVShortage(Exception):
    __module__ = "cv2"
    code = -4


@pytest.mark.parametrize("error", [MemoryError(), OpenCVShortage("Failed to allocate")])
@pytest.mark.parametrize("place", ["decoding.open_image", "image_pass.fit_image"])
def test_a_shortage_while_decoding_stops_too(error, place, tmp_path, monkeypatch):
    cohort, cache = make_cohort(tmp_path / "films", 20), tmp_path / "cache"
    for source in cohort.sources:
        Image.open(source).convert("P").save(source)

    def short(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(f"cxrbench.store.{place}", short)
        with pytest.raises(OutOfMemory, match="--threads"):
            prepared(cohort, cache, max_bad=1.0)
    assert prepared(cohort, cache).usable.all()


def test_a_shortage_when_signatures_are_made_is_no_other_key(tmp_path, monkeypatch):
    cohort, cache = make_cohort(tmp_path / "films", 20), tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "signature", lambda *_: (_ for _ in ()).throw(SHORTAGES["memory"]))
        with pytest.raises(OutOfMemory):
            prepared(cohort, cache)
    assert not cache.exists()


def test_a_decoder_that_reports_damage_for_want_of_memory_is_not_believed(monkeypatch):
    """libjpeg and others say "broken data" when an allocation fails."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(file, "JPEG")

    def broken(image):
        raise OSError("broken data stream when reading image file")

    def no_memory(size):
        raise MemoryError

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", broken)
    with pytest.raises(UnreadableImage, match="broken data"):
        decode(file.getvalue(), max_pixels=10_000)
    monkeypatch.setattr("cxrbench.store.decoding.require_memory", no_memory)
    with pytest.raises(MemoryError):
        decode(file.getvalue(), max_pixels=10_000)


def test_rows_without_a_file_count_as_unreadable_images_do(tmp_path):
    cohort = make_cohort(tmp_path / "films", 30)
    display = ListDisplay()
    lateral = Exclusion("b", "not a frontal view: LATERAL")
    others = replace(cohort, excluded=(lateral,) * 50)
    assert prepared(others, tmp_path / "cache", display=display).usable.all()
    assert display.said == []
    lacking = replace(others, absent=10)
    with pytest.raises(DataError, match=r"10 of 40 images.*(?s:.*)without a file(?s:.*)--max-bad"):
        prepared(lacking, tmp_path / "cache", max_bad=0.24)
    prepared(lacking, tmp_path / "cache", max_bad=0.25, display=display)
    assert display.said[0] == "10 of 40 images are excluded:"
