"""Damaged stores, changed images and full disks: said, and never used as they are."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepared_films import (
    Age,
    Corners,
    Folder,
    Interrupted,
    ListDisplay,
    bytes_of,
    forget_counts,
    keys_of,
    make_cohort,
    prepared,
)

from cxrbench.errors import CacheError
from cxrbench.store.cache import canonical, key_of
from cxrbench.store.journal import DamagedStore, read_journal, verify_stretches


@pytest.fixture(autouse=True)
def _fresh_counts():
    forget_counts()


@pytest.fixture
def cohort(tmp_path):
    return make_cohort(tmp_path / "films", 20)


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


def disguised(sources: list[str] | tuple[str, ...], seed: int) -> None:
    """Other noise in files of 200 kB that have the same size, time, first and last 64 kB."""
    noise = np.random.default_rng(seed).integers(0, 256, (len(sources), 70_000), np.uint8)
    for source, pixels in zip(sources, noise, strict=True):
        grey = np.zeros((400, 500), np.uint8)
        grey.reshape(-1)[66_000:133_000] = pixels[:67_000]
        Image.fromarray(grey).save(source, "BMP")
        os.utime(source, ns=(10**18, 10**18))


def test_stores_that_saw_different_images_are_not_mixed(cohort, tmp_path, monkeypatch):
    disguised(cohort.sources, 1)
    prepared(cohort, tmp_path / "cache")
    disguised(cohort.sources, 2)
    monkeypatch.setattr("cxrbench.store.prepare.changed_image", lambda *_: None)  # overlooked
    with pytest.raises(CacheError, match=r"two versions of image '0000\.png'"):
        prepared(cohort, tmp_path / "cache", image_sizes=(32, 16), max_bad=1.0)


def test_images_that_only_look_the_same_from_outside_are_prepared_again(cohort, tmp_path):
    cache, display = tmp_path / "cache", ListDisplay()
    disguised(cohort.sources, 1)
    first = prepared(cohort, cache)
    disguised(cohort.sources, 2)
    second = prepared(cohort, cache, display=display)
    assert "is not the one that the cache was made of" in display.said[0]
    assert not set(first.digests) & set(second.digests)
    prepared(cohort, tmp_path / "fresh")
    assert bytes_of(cache) == bytes_of(tmp_path / "fresh")
    display.said.clear()
    assert prepared(cohort, cache, display=display).made == frozenset()
    assert display.said == []


def test_an_interrupted_store_of_other_images_is_begun_again(tmp_path):
    cohort, cache, display = make_cohort(tmp_path / "films", 300), tmp_path / "cache", ListDisplay()
    disguised(cohort.sources, 1)
    with pytest.raises(KeyboardInterrupt):
        prepared(cohort, cache, extractors=(), dataset=Interrupted(at=290))
    disguised(cohort.sources, 2)
    prepared(cohort, cache, extractors=(), display=display)
    assert "is not the one that the cache was made of" in display.said[0]
    prepared(cohort, tmp_path / "fresh", extractors=())
    assert bytes_of(cache) == bytes_of(tmp_path / "fresh")


def test_other_images_of_the_same_name_size_and_time_have_a_store_of_their_own(tmp_path):
    cohorts, digests = [], []
    for seed, name in enumerate("ab"):
        cohorts.append(make_cohort(tmp_path / name, 20))
        for row, source in enumerate(cohorts[-1].sources):
            grey = np.random.default_rng((seed, row)).integers(0, 256, (40, 40), np.uint8)
            Image.fromarray(grey).save(source, "BMP")
            os.utime(source, ns=(10**18, 10**18))
    sizes = [[Path(source).stat().st_size for source in one.sources] for one in cohorts]
    assert sizes[0] == sizes[1]
    for cohort in cohorts:
        result = prepared(cohort, tmp_path / "cache")
        digests.append(result.digests)
        expected = [hashlib.sha256(Path(s).read_bytes()).hexdigest() for s in cohort.sources]
        assert list(result.digests) == expected
        assert len(result.made) == 2
    assert len(keys_of(tmp_path / "cache")) == 4


def test_the_entries_of_an_older_version_are_not_used_and_said(cohort, tmp_path):
    cache, display = tmp_path / "cache", ListDisplay()
    prepared(cohort, cache, extractors=())
    (about,) = cache.rglob("about.json")
    values = json.loads(about.read_bytes())
    old = cache / "pixels" / key_of({**values, "format": 1})
    about.parent.rename(old)
    (old / "about.json").write_text(canonical({**values, "format": 1}))
    assert prepared(cohort, cache, extractors=(), display=display).made
    assert f"cxrbench cache clear {old.name}" in display.said[0]
    assert len(display.said) == 1


def zeros_inside(path: Path) -> None:
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    assert any(data[third : 2 * third])
    data[third : 2 * third] = bytes(third)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["pixels.bin", "descriptors.bin", "keypoints.bin"])
def test_data_that_rotted_are_noticed_and_built_again(name, tmp_path):
    cohort, cache, display = make_cohort(tmp_path / "films", 300), tmp_path / "cache", ListDisplay()
    prepared(cohort, cache)
    whole = bytes_of(cache)
    zeros_inside(next(cache.rglob(name)))
    prepared(cohort, cache, display=display)
    assert bytes_of(cache) == whole
    assert len(display.said) == 1
    assert re.search(rf"damaged and is built again: bytes \d+ to \d+ of {name}", display.said[0])


def test_data_that_rotted_in_an_interrupted_store_are_built_again(tmp_path):
    cohort, cache, display = make_cohort(tmp_path / "films", 300), tmp_path / "cache", ListDisplay()
    prepared(cohort, tmp_path / "whole", extractors=())
    with pytest.raises(KeyboardInterrupt):
        prepared(cohort, cache, extractors=(), dataset=Interrupted(at=290))
    zeros_inside(next(cache.rglob("pixels.bin")))
    prepared(cohort, cache, extractors=(), display=display)
    assert "is damaged and is built again" in display.said[0]
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")


def test_of_a_large_store_a_random_sample_is_compared(tmp_path):
    cohort, cache = make_cohort(tmp_path / "films", 300), tmp_path / "cache"
    prepared(cohort, cache, extractors=())
    path = next(cache.rglob("pixels.bin"))
    text = (path.parent / "journal.jsonl").read_bytes()
    stretches = read_journal(text, ("pixels.bin",)).stretches
    assert [one.size for one in stretches] == [128 * 1024, 128 * 1024, 44 * 1024]
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    seen = 0
    for _ in range(60):  # one of the three at a time
        try:
            verify_stretches(path.parent, stretches, most=130_000)
        except DamagedStore:
            seen += 1
    assert 0 < seen < 60
    with pytest.raises(DamagedStore):
        verify_stretches(path.parent, stretches, most=None)


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
        with pytest.raises(CacheError, match=r"about 1[0-9]{2}\.[0-9] kB free") as caught:
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


@pytest.mark.parametrize("inside", [True, False])
def test_a_store_is_not_written_through_a_link(cohort, tmp_path, inside):
    cache = tmp_path / "cache"
    prepared(cohort, cache)
    whole = bytes_of(cache)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "pixels.bin").write_text("mine")
    (marker,) = cache.rglob("pixels/*/complete.json") or cache.rglob("complete.json")
    folder = marker.parent
    if inside:  # an interrupted store, one of whose files is a link
        marker.unlink()
        (folder / "journal.jsonl").unlink()
        (folder / "pixels.bin").unlink()
        (folder / "pixels.bin").symlink_to(victim / "pixels.bin")
    else:
        folder.rename(tmp_path / "old")
        folder.symlink_to(victim)
    if inside:
        with pytest.raises(CacheError, match="symbolic links"):
            prepared(cohort, cache)
        forget_counts()
    else:
        prepared(cohort, cache)
        assert bytes_of(cache) == whole
    assert (victim / "pixels.bin").read_text() == "mine"
    assert [path.name for path in victim.iterdir()] == ["pixels.bin"]
