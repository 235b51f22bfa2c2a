"""What an earlier scan of a DICOM archive found: used again, and never wrongly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

from dicom_files import SECRET, pixels, radiograph, save, write
from dicom_folders import folder_of, use_key
from pydicom.uid import JPEG2000Lossless

from cxrbench import CxrbenchError
from cxrbench.builtin.dicom import DICOM

# What pydicom says where these tests write what is wrong.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path):
    use_key(monkeypatch, tmp_path)


@pytest.fixture
def again(tmp_path, recorder, monkeypatch):
    """Load with a cache, and count the headers that are read."""
    from cxrbench.builtin._dicom import scan

    read, headers = scan.read_radiograph, []

    def counted(path, key, **options):
        headers.append(Path(path).name)
        return read(path, key, **options)

    monkeypatch.setattr(scan, "read_radiograph", counted)

    def load_again(root: Path, **options):
        headers.clear()
        dataset = DICOM(path=str(root), image_ids="path", **options)
        return dataset.load_showing(recorder, tmp_path / "cache"), sorted(headers)

    return load_again


def test_headers_are_read_once(tmp_path, again, recorder, monkeypatch):
    root = folder_of(tmp_path, Modality="CT")
    first, read = again(root)
    assert read == ["good.dcm", "odd"]
    assert recorder.tasks == [("reading headers", 2)]
    second, read = again(root)
    assert read == []
    assert second.patient_ids == first.patient_ids
    assert second.excluded == first.excluded
    assert second.ages.tolist() == first.ages.tolist()

    write(root / "odd", pixels((50, 50)))
    third, read = again(root)
    assert read == ["odd"]
    assert third.image_ids == ("good.dcm", "odd")
    assert again(root, unknown="accept")[1] == ["good.dcm", "odd"]  # another way to judge
    monkeypatch.setenv("CXRBENCH_DICOM_KEY", SECRET + "!")
    assert again(root)[1] == ["good.dcm", "odd"]


def test_a_damaged_memory_is_read_as_far_as_it_is_whole(tmp_path, again):
    root = folder_of(tmp_path)
    first, _ = again(root)
    (path,) = (tmp_path / "cache" / "headers").iterdir()
    _, *lines = path.read_bytes().strip().splitlines()
    path.write_bytes(b'[1]\n["a", "b", {"c": 1}]\n\xff\n' + lines[0] + b"\n" + lines[1][:-9])
    second, read = again(root)
    assert len(read) == 1
    assert second.image_ids == first.image_ids
    assert again(root)[1] == []


def test_the_cache_commands_know_what_was_found(tmp_path, again, cli):
    root, cache = folder_of(tmp_path), tmp_path / "cache"

    def listed():
        return json.loads(cli("cache", "list", "--cache", cache, "--json").out)["entries"]

    again(root)
    (entry,) = listed()
    assert (entry["kind"], entry["dataset"], entry["data"]) == ("headers", "dicom", str(root))
    (path,) = (cache / "headers").iterdir()
    assert (path.stem, path.stat().st_size) == (entry["key"], entry["size"])
    os.utime(path, (0, 0))
    assert listed()[0]["last_used"].startswith("1970")
    assert again(root)[1] == []
    assert not listed()[0]["last_used"].startswith("1970")
    said = cli("cache", "clear", "--data", root, "--yes", "--cache", cache)
    assert "Removed 1 entry" in said.out
    assert listed() == []
    assert again(root)[1] == ["good.dcm", "odd"]


def test_a_decoder_that_was_missing_is_looked_for_again(tmp_path, again, monkeypatch):
    from pydicom.pixels import get_decoder

    root = folder_of(tmp_path)
    dataset = radiograph(PatientID="odd")
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    save(root / "odd", dataset)
    with monkeypatch.context() as patch:
        patch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
        cohort, _ = again(root)
        assert "pip install" in cohort.excluded[0].reason
    cohort, read = again(root)
    assert read == ["odd"]
    assert cohort.excluded == ()


def test_a_cache_that_cannot_be_written_says_so(tmp_path, again):
    (tmp_path / "cache").touch()
    with pytest.raises(CxrbenchError, match="cannot write the cache"):
        again(folder_of(tmp_path))
