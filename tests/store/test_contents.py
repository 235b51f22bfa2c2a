"""What the cache is said to hold, and what is removed from it: nothing that is used or foreign."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import Recorder
from tiny_parts import Drawn, Grid

from cxrbench.encoders.whole_image import Identity
from cxrbench.errors import SettingsError
from cxrbench.modeling.embed import embed
from cxrbench.output.files import locked
from cxrbench.store.cache import canonical, kept_choice, lock_of, purpose_for
from cxrbench.store.contents import KINDS, Selection, entries, remove, verification_of
from cxrbench.store.encode import encode
from cxrbench.store.image_pass import Preparation
from cxrbench.store.prepare import prepare

DRAWN = Drawn(patients=10)


def prepared(cache, dataset=DRAWN, wanted=None):
    return prepare(
        dataset,
        dataset.load(),
        wanted or Preparation(image_sizes=(16,), clahe_sizes=(16,), extractors=(Grid(),)),
        max_bad=0.0,
        cache=cache,
        threads=1,
        display=Recorder(),
    )


def encoded(cache, dataset=DRAWN):
    store = prepared(cache, dataset).features[Grid()]
    return encode(
        store.descriptors,
        len(store),
        Grid(),
        Identity(),
        np.arange(4),
        seed=0,
        store_key=store.folder.name,
        cache=cache,
        display=Recorder(),
        purpose=purpose_for(dataset, "grid feature vectors"),
    )


def embedded(cache, pixels):
    return embed(
        lambda: lambda batch: batch["image"][:, 0, :4].astype(np.float32),
        pixels,
        output_shape=(4,),
        about={"network": "first four"},
        cache=cache,
        display=Recorder(),
        purpose=purpose_for(DRAWN, "tinynet embeddings"),
    )


@pytest.fixture
def cache(tmp_path):
    """Something of every kind, used by nobody."""
    folder = tmp_path / "cache"
    encoded(folder)
    embedded(folder, prepared(folder).pixels[16])
    prepared(folder, wanted=Preparation())
    about = {"recipe": "tinynet"}
    kept_choice("batch-sizes", about, lambda: 64, cache=folder, display=Recorder())
    kept_choice("engines", {}, lambda: "keras", cache=folder, display=Recorder())
    (folder / "headers").mkdir()
    told = '{"dataset": "dicom", "data": "/archive"}\n["a file", "1", "no radiograph"]\n'
    (folder / "headers" / f"{'0a' * 10}.jsonl").write_text(told)
    return folder


def files_of(cache: Path) -> set[Path]:
    return {path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_everything_is_listed_with_its_purpose_and_its_size(cache):
    found = entries(cache)
    assert {(e.kind, e.purpose.what, e.purpose.data) for e in found} == {
        ("pixels", "pixels 16×16", "drawn:patients=10"),
        ("pixels", "pixels 16×16, CLAHE", "drawn:patients=10"),
        ("features", "grid descriptors at 32", "drawn:patients=10"),
        ("images", "which images can be read", "drawn:patients=10"),
        ("embeddings", "tinynet embeddings", "drawn:patients=10"),
        ("encodings", "grid feature vectors", "drawn:patients=10"),
        ("batch-sizes", "64 for tinynet", ""),
        ("engines", "keras", ""),
        ("headers", "headers of DICOM files", "/archive"),
    }
    assert {e.kind for e in found} == set(KINDS)
    assert {e.state for e in found} == {"complete"}
    assert not any(e.in_use for e in found)
    assert {path for e in found for path in e.files} == files_of(cache)
    assert sum(e.size for e in found) == sum(path.stat().st_size for path in files_of(cache))


def test_a_whole_grid_leaves_nothing_that_is_not_listed(grid):
    found = entries(grid.cache)
    assert {path for e in found for path in e.files} == files_of(grid.cache)
    assert all(e.purpose.what for e in found)
    assert "tinynet embeddings at 32" in {e.purpose.what for e in found}
    assert "rows:words=8 feature vectors, seed 1" in {e.purpose.what for e in found}


def test_parameters_are_in_the_words(tmp_path):
    wanted = Preparation(extractors=(Grid(image_size=16),), clahe=True, fit="pad")
    prepared(tmp_path, wanted=wanted)
    (entry,) = entries(tmp_path)
    assert entry.purpose.what == "grid:image_size=16 descriptors at 16, CLAHE, padded"


def test_use_is_noted(cache):
    old = time.time() - 90 * 86400
    for path in files_of(cache):
        os.utime(path, (old, old))
    encoded(cache)
    embedded(cache, prepared(cache).pixels[16])
    about = {"recipe": "tinynet"}
    kept_choice("batch-sizes", about, lambda: 1, cache=cache, display=Recorder())
    used = {e.kind for e in entries(cache) if e.last_used > time.time() - 60}
    assert used == set(KINDS) - {"images", "engines", "headers"}
    chosen = Selection(older_than="30d").of(entries(cache))
    assert {e.kind for e in chosen} == {"images", "engines", "headers"}
    assert Selection(older_than="13w").of(entries(cache)) == ()


def test_a_cache_that_cannot_be_written_is_read_all_the_same(cache, monkeypatch):
    def refused(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refused)
    assert prepared(cache).made == frozenset()


DAMAGES = {
    "interrupted": {
        "pixels/*/complete.json": None,
        "encodings/*.npz": None,
    },
    "damaged": {
        "pixels/*/pixels.bin": lambda data: data[:-1],
        "features/*/journal.jsonl": lambda data: data.replace(b"1", b"2"),
        "images/*/about.json": lambda data: data.replace(b"drawn", b"drown"),
        "embeddings/*/embeddings.bin": None,
        "encodings/*.npy": lambda data: data[:-1],
        "batch-sizes/*.json": lambda data: data.replace(b"tiny", b"tina"),
        "engines/*.json": lambda data: b"[]",
    },
}


@pytest.mark.parametrize(
    ("state", "place"), [(state, place) for state, places in DAMAGES.items() for place in places]
)
def test_interrupted_and_damaged_entries_are_told_and_can_be_removed(state, place, cache):
    (path, *_), change = sorted(cache.glob(place)), DAMAGES[state][place]
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    (entry,) = Selection(incomplete=True).of(entries(cache))
    assert (entry.state, entry.kind) == (state, place.split("/")[0])
    assert remove(entry)
    assert {e.state for e in entries(cache)} == {"complete"}
    assert not any(path.exists() for path in entry.files)


def test_foreign_files_are_neither_listed_nor_removed(cache, tmp_path):
    name = "0" * 32
    store = next(e for e in entries(cache) if e.kind == "pixels").files[0].parent
    foreign = [
        cache / "notes.txt",
        cache / "mine" / name / "about.json",
        cache / "images" / name / "film.png",
        cache / "pixels" / "about.json",
        cache / "encodings" / "thesis.npy",
        cache / "engines" / f"{name}.txt",
        cache / "headers" / "thesis.jsonl",
        store / "thesis.txt",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    elsewhere = shutil.copytree(store, tmp_path / "elsewhere")
    (cache / "pixels" / ("1" * 32)).symlink_to(elsewhere)
    found = Selection(everything=True).of(entries(cache))
    assert len(found) == 9
    assert all(remove(entry) for entry in found)
    assert entries(cache) == ()
    assert files_of(cache) >= set(foreign)
    assert {path.read_text() for path in foreign} == {"mine"}
    assert (elsewhere / "pixels.bin").exists()
    assert [path.name for path in store.iterdir()] == ["thesis.txt"]


def test_what_is_read_is_in_use_and_not_removed_until_it_is_let_go(cache):
    reader = prepared(cache)
    held = {e.name for e in entries(cache) if e.in_use}
    assert held == {f"{folder.parent.name}/{folder.name}" for folder in reader.stores}
    refused = [e for e in entries(cache) if e.in_use]
    assert not any(remove(entry) for entry in refused)
    assert (reader.pixels[16] == prepared(cache).pixels[16]).all()
    del reader
    assert all(remove(entry) for entry in refused)


def test_what_is_made_is_in_use_and_not_removed(cache):
    entry = next(e for e in entries(cache) if e.kind == "encodings")
    path = next(path for path in entry.files if path.suffix == ".npy")
    with locked([lock_of(path)], Recorder()):
        assert next(e for e in entries(cache) if e.name == entry.name).in_use
        assert not remove(entry)
    assert all(path.exists() for path in entry.files)


def test_a_reader_keeps_what_it_sees_without_the_file(cache):
    reader = prepared(cache)
    before = reader.pixels[16].copy(), reader.features[Grid()].descriptors(3).copy()
    for folder in reader.stores:
        shutil.rmtree(folder)
    np.testing.assert_array_equal(reader.pixels[16], before[0])
    np.testing.assert_array_equal(reader.features[Grid()].descriptors(3), before[1])


def test_what_was_removed_is_made_again(cache):
    before = prepared(cache).pixels[16].copy()
    for entry in entries(cache):
        assert remove(entry)
    again = prepared(cache)
    assert again.made == set(again.stores)
    np.testing.assert_array_equal(again.pixels[16], before)


def test_selections_narrow_each_other(cache):
    prepared(cache, dataset=Drawn(patients=11))
    found = entries(cache)

    def names(**given):
        return {entry.name for entry in Selection(**given).of(found)}

    of_kind = names(keys=("pixels/",))
    assert of_kind == {e.name for e in found if e.kind == "pixels"}
    assert len(of_kind) == 4
    of_data = names(data="drawn:patients=11")
    assert len(of_data) == 3
    assert names(keys=("pixels/",), data="drawn:patients=11") == of_kind & of_data
    assert names(data="drawn") == {e.name for e in found if e.purpose.dataset == "drawn"}
    assert names(data="draw") == set()
    key = found[0].key
    assert names(keys=(key[:9],)) == {found[0].name}
    assert names(keys=(key, found[1].name)) == {found[0].name, found[1].name}
    assert names(everything=True) == {e.name for e in found}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"everything": True, "incomplete": True},
        {"older_than": "30"},
        {"older_than": "-3d"},
        {"older_than": "d"},
    ],
    ids=str,
)
def test_an_unclear_selection_is_an_error(given, cache):
    with pytest.raises(SettingsError, match=r"cannot select entries|--older-than cannot be"):
        Selection(**given).of(entries(cache))


def test_a_path_selects_what_was_made_of_it_even_if_it_is_gone(tmp_path, tiny_nih, monkeypatch):
    from cxrbench.builtin.nih import NIH

    films = shutil.copytree(tiny_nih, tmp_path / "films, old")
    prepared(tmp_path / "cache", NIH(path=str(films)), Preparation())
    prepared(tmp_path / "cache", NIH(path=str(tiny_nih)), Preparation(image_sizes=(16,)))
    shutil.rmtree(films)
    monkeypatch.chdir(tmp_path)
    for text in (str(films), "films, old"):
        (entry,) = Selection(data=text).of(entries(tmp_path / "cache"))
        assert entry.kind == "images"
    (entry,) = Selection(data=str(tiny_nih)).of(entries(tmp_path / "cache"))
    assert entry.kind == "pixels"


@pytest.mark.parametrize("first", [b"", b"\n", b"[]\n", b'{"data": 1}\n', b"\xff\xfe\n"])
def test_a_memory_of_headers_that_names_no_archive_is_listed_all_the_same(first, tmp_path):
    path = tmp_path / "headers" / f"{'0a' * 10}.jsonl"
    path.parent.mkdir()
    path.write_bytes(first)
    (entry,) = entries(tmp_path)
    assert (entry.purpose.data, entry.state, entry.size) == ("", "complete", len(first))
    assert remove(entry)
    assert not path.exists()


def test_no_cache_holds_nothing(tmp_path):
    assert entries(tmp_path / "nowhere") == ()


def test_every_kind_is_verified_by_its_own_checksums(cache):
    sound = {entry.name: verification_of(entry) for entry in entries(cache)}
    assert {name.split("/")[0] for name, result in sound.items() if result != "sound"} == {
        "headers"
    }
    for kind, name in (
        ("pixels", "*/pixels.bin"),
        ("features", "*/descriptors.bin"),
        ("embeddings", "*/embeddings.bin"),
        ("encodings", "*.npy"),
    ):
        path = next((cache / kind).glob(name))
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        results = {entry.name: verification_of(entry) for entry in entries(cache)}
        key = path.stem if kind == "encodings" else path.parent.name
        assert results.pop(f"{kind}/{key}").startswith("damaged: ")
        assert results.items() <= sound.items()
        path.write_bytes(content)


def test_a_store_of_an_older_version_has_no_checksums(cache):
    (entry,) = (one for one in entries(cache) if one.kind == "embeddings")
    journal = entry.path / "journal.jsonl"
    (line,) = journal.read_text().splitlines()
    chunk = json.loads(json.loads(line)["chunk"])
    del chunk["crc32"]
    text = canonical(chunk)
    journal.write_text(json.dumps({"crc32": zlib.crc32(text.encode()), "chunk": text}) + "\n")
    digest = hashlib.sha256(journal.read_bytes()).hexdigest()
    (entry.path / "complete.json").write_text(json.dumps({"journal": digest}))
    (entry,) = (one for one in entries(cache) if one.kind == "embeddings")
    assert verification_of(entry) == "no checksums"
    pixels = prepared(cache).pixels[16]
    np.testing.assert_array_equal(embedded(cache, pixels), pixels[:, 0, :4])
