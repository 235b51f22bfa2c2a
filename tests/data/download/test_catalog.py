"""The catalogue is NIH's and MedMNIST's, complete and consistent; names and options are checked."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from pathlib import Path

import pytest

from cxrbench import CxrbenchError
from cxrbench.data.download.catalog import CHESTMNIST, NIH_ARCHIVES, NIH_LISTS, find_source

FILES = [*NIH_ARCHIVES, *NIH_LISTS, *CHESTMNIST.values()]
REAL = os.environ.get("CXRBENCH_REAL_DATA")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_has_an_address_and_a_checksum(file):
    assert re.fullmatch(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})", file.checksum)
    assert file.url.startswith("https://")
    assert file.name == os.path.basename(file.name)
    assert (file.folder is not None) == file.name.endswith(".tar.gz")


def test_nothing_is_named_twice():
    for what in ("name", "url", "checksum"):
        assert len({getattr(file, what) for file in FILES}) == len(FILES)


def test_nihs_archives_hold_all_of_its_images():
    assert sum(file.images for file in NIH_ARCHIVES) == 112_120
    assert [file.folder for file in NIH_ARCHIVES] == [f"images_{n:03}" for n in range(1, 13)]
    assert sum(file.size for file in NIH_ARCHIVES) == pytest.approx(45e9, rel=0.01)


def test_options_choose_files():
    assert find_source("nih").files() == NIH_LISTS + NIH_ARCHIVES
    assert find_source("nih:archives=1").files() == NIH_LISTS + NIH_ARCHIVES[:1]
    assert [file.name for file in find_source("chestmnist").files()] == ["chestmnist_224.npz"]
    assert [file.name for file in find_source("ChestMNIST:size=28").files()] == ["chestmnist.npz"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nhi", "Did you mean 'nih'?"),
        ("phantom", "nih or chestmnist"),
        ("", "cannot be downloaded"),
        ("nih:archives=0", "1 to 12"),
        ("nih:archives=13", "1 to 12"),
        ("nih:archives=two", "a whole number"),
        ("nih:path=x", "no parameter 'path'"),
        ("chestmnist:size=100", "one of 28, 64, 128, 224"),
        ("chestmnist:64", "name=value"),
    ],
)
def test_what_cannot_be_is_explained(text, words):
    with pytest.raises(CxrbenchError) as error:
        find_source(text)
    assert words in str(error.value)


@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
@pytest.mark.parametrize("file", NIH_LISTS, ids=lambda file: file.name)
def test_the_checksums_of_nihs_lists_are_those_of_their_content(file):
    """Copies in use end with a line feed and may call the sex gender; the rest is the same."""
    data = gzip.decompress((Path(REAL or "") / "nih-metadata" / f"{file.name}.gz").read_bytes())
    if file.name.startswith("Data_Entry"):
        data = data.replace(b"Patient Gender", b"Patient Sex", 1)
    elif file.name.endswith(".txt"):
        data = data.rstrip(b"\n")
    assert len(data) == file.size
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == file.checksum
