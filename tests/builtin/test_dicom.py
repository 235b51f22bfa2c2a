"""The dataset dicom: which files it takes, labels, pseudonyms, and that nothing leaks."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import math
import os
import stat
import subprocess
import sys
import traceback
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

from dicom_files import SECRET, as_jpeg, compressed, pixels, radiograph, save, write
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, generate_uid

from cxrbench import CxrbenchError, DataError, UnreadableImage
from cxrbench.builtin.dicom import DICOM, cxrbench_datasets
from cxrbench.data.cohort import validate
from cxrbench.datasets import find_dataset
from cxrbench.parameters import data_text

# What pydicom says where these tests write what is wrong.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path):
    """A key for the test, and no way to the user's own."""
    monkeypatch.setenv("CXRBENCH_DICOM_KEY", SECRET)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))


def table(folder: Path, *rows: str, header: str = "file,Effusion,Mass") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def folder_of(tmp_path: Path, **elements) -> Path:
    """One good file ``good.dcm`` and one ``odd`` with these elements, and a row for each."""
    root = tmp_path / "archive"
    write(root / "good.dcm", PatientID="good")
    write(root / "odd", **elements)
    table(root, "good.dcm,1,0", "odd,0,1")
    return root


def load(root: Path, **options):
    cohort = DICOM(path=str(root), **options).load()
    validate(cohort)
    return cohort


def only(root: Path, **options):
    """What became of the file ``odd``: the cohort's row, or the reason."""
    cohort = load(root, image_ids="path", **options)
    if "odd" in cohort.image_ids:
        row = cohort.image_ids.index("odd")
        return cohort.ages[row], cohort.sexes[row], cohort.views[row]
    (found,) = cohort.excluded
    assert found.image_id == "odd"
    return found.reason


def test_a_small_archive_gives_its_cohort(tmp_path):
    root = tmp_path / "archive"
    first = write(root / "a" / "IM0001", PatientID="7", PatientAge="058Y", ViewPosition="AP")
    write(root / "b" / "x.dcm", PatientID="7", PatientSex="M", PatientAge="006M")
    save(root / "c.DCM", as_jpeg(radiograph(bits=8, PatientID="8", PatientAge=None)))
    table(root, "a/IM0001,1,0", "x,0,1", "c.DCM,-1,")

    cohort = load(root, image_ids="path")

    assert cohort.name == "dicom"
    assert cohort.image_ids == ("a/IM0001", "b/x.dcm", "c.DCM")
    assert cohort.label_names == ("Effusion", "Mass")
    np.testing.assert_array_equal(cohort.labels, [[1, 0], [0, 1], [np.nan, np.nan]])
    assert cohort.ages.tolist()[:2] == [58, 0.5]
    assert math.isnan(cohort.ages[2])
    assert cohort.sexes == ("F", "M", "F")
    assert cohort.views == ("AP", "PA", "PA")
    assert cohort.sources[0] == str(first)
    assert cohort.patient_ids[0] == cohort.patient_ids[1] != cohort.patient_ids[2]
    assert cohort.no_finding is None
    assert cohort.excluded == ()
    assert cxrbench_datasets() == [DICOM]


@pytest.mark.parametrize(
    ("elements", "found"),
    [
        ({"ViewPosition": "AP PORTABLE"}, (45, "F", "AP")),
        ({"ViewPosition": None, "PatientPosition": "PA"}, (45, "F", "PA")),
        ({"ViewPosition": None, "PatientOrientation": ["L", "F"]}, (45, "F", "")),
        ({"BodyPartExamined": None, "StudyDescription": "CHEST 2 VIEWS"}, (45, "F", "PA")),
        ({"BodyPartExamined": "THORAX"}, (45, "F", "PA")),
        ({"Modality": "RG", "PatientSex": "O"}, (45, "", "PA")),
        ({"PatientAge": "095Y"}, (90, "F", "PA")),
        ({"PatientAge": None, "PatientBirthDate": "19800630", "StudyDate": "20200629"},
         (39, "F", "PA")),
        ({"PatientAge": None, "PatientBirthDate": "18000101", "StudyDate": "20200629"},
         (math.nan, "F", "PA")),
        ({"PatientAge": "forty", "PatientBirthDate": "19801399"}, (math.nan, "F", "PA")),
    ],
    ids=str,
)  # fmt: skip
def test_age_sex_and_view_are_the_headers(tmp_path, elements, found):
    assert only(folder_of(tmp_path, **elements)) == pytest.approx(found, nan_ok=True)


def code(value: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "x"
    return [item]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "CT"}, "no radiograph: modality CT"),
        ({"Modality": "DOE"}, "no radiograph: another modality"),
        ({"Modality": None}, "has no modality"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw data for processing"),
        ({"BodyPartExamined": "RIBCAGE"}, "does not show the chest alone: RIBCAGE"),
        ({"BodyPartExamined": "CHEST_ABDOMEN"}, "does not show the chest alone: another part"),
        ({"BodyPartExamined": "JOHN DOE"}, "does not show the chest alone: another part"),
        ({"BodyPartExamined": None}, "does not say which part of the body"),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": code("71341001")}, "another part"),
        ({"ViewPosition": "LL"}, "a lateral view"),
        ({"ViewPosition": "LATERAL"}, "a lateral view"),
        ({"ViewPosition": "LLD"}, "not frontal: LLD"),
        ({"ViewPosition": "DOE"}, "not frontal: another view"),
        ({"ViewPosition": "PA LAT"}, "a lateral view"),
        ({"ViewPosition": None}, "does not say from where"),
        ({"ViewPosition": None, "PatientOrientation": ["A", "F"]}, "a lateral view"),
        ({"ViewPosition": None, "ViewCodeSequence": code("R-10236")}, "a lateral view"),
        ({"NumberOfFrames": 3}, "several frames"),
        ({"PatientID": None}, "does not say whose it is"),
        ({"PatientID": "  "}, "does not say whose it is"),
        ({"PixelData": None}, "no pixel data"),
        ({"Rows": 4000}, "truncated"),
        ({"SOPInstanceUID": "1.2.3"}, "a copy of another file"),
    ],
    ids=str,
)
def test_what_is_no_frontal_chest_radiograph_is_listed_with_its_reason(tmp_path, elements, reason):
    root = folder_of(tmp_path, **elements)
    if "SOPInstanceUID" in elements:
        write(root / "good.dcm", **elements)
    assert reason in only(root)


def test_a_value_that_is_not_of_its_type_is_not_quoted(tmp_path):
    root = folder_of(tmp_path, NumberOfFrames=1)
    data = (root / "odd").read_bytes()
    assert b"IS\x02\x001 " in data
    (root / "odd").write_bytes(data.replace(b"IS\x02\x001 ", b"IS\x02\x00DO"))
    assert only(root) == "damaged: its header cannot be read"


def test_codes_say_what_and_from_where(tmp_path):
    root = folder_of(
        tmp_path,
        BodyPartExamined=None,
        AnatomicRegionSequence=code("51185008"),
        ViewPosition=None,
        ViewCodeSequence=code("399348003"),
    )
    assert only(root) == (45, "F", "AP")


def test_headers_that_say_little_can_be_accepted(tmp_path):
    root = folder_of(tmp_path, BodyPartExamined=None, ViewPosition=None)
    assert only(root, unknown="accept") == (45, "F", "")
    assert "does not say" in only(root)


def test_files_that_are_none_are_listed_and_stop_nothing(tmp_path):
    root = folder_of(tmp_path)
    (root / "note.txt").write_text("no image")
    (root / "empty.dcm").touch()
    (root / "short.dcm").write_bytes((root / "odd").read_bytes()[:-10])
    (root / ".hidden").touch()
    (root / "nowhere").symlink_to(root / "gone")
    (root / "sub").mkdir()
    (root / "sub" / "up").symlink_to(root)  # a loop
    os.mkfifo(root / "pipe")
    j2k = radiograph(SOPInstanceUID=generate_uid())
    j2k.compress(JPEG2000Lossless, generate_instance_uid=False)
    whole = save(root / "cut", j2k).read_bytes()
    (root / "cut").write_bytes(whole[:-30])
    save(root / "video", compressed(radiograph(), "1.2.840.10008.1.2.4.102", lambda raw: raw))

    cohort = load(root, image_ids="path")

    assert cohort.image_ids == ("good.dcm", "odd")
    reasons = {found.image_id: found.reason for found in cohort.excluded}
    assert "MPEG-4" in reasons.pop("video")
    assert reasons == {
        "note.txt": "not a DICOM file",
        "empty.dcm": "the file is empty",
        "short.dcm": "truncated: the pixels end early",
        "cut": "truncated: the pixels end early",
        "nowhere": "a link that leads nowhere",
        "pipe": "not a file",
    }
    assert "left out 7 files or rows" in "\n".join(cohort.notes)


def test_what_may_not_be_read_is_listed(tmp_path):
    root = folder_of(tmp_path)
    (root / "odd").chmod(0)
    if os.access(root / "odd", os.R_OK):
        pytest.skip("this user may read everything")
    (root / "locked").mkdir(mode=0)
    reasons = {e.image_id: e.reason for e in load(root, image_ids="path").excluded}
    assert reasons["odd"] == "cannot be read: Permission denied"
    assert "cannot be listed" in reasons["locked"]
    (root / "locked").chmod(0o700)


def test_labels_join_by_path_name_stem_or_uid(tmp_path):
    root, uid = tmp_path / "archive", "1.2.3.4"
    for name in ("p/1.dcm", "q/1.dcm", "q/two.dcm", "q/three"):
        write(root / name)
    write(root / "four", SOPInstanceUID=uid)
    write(root / "five.dcm")
    rows = ("p/1.dcm,1,0", "q\\1.dcm,0,1", "somewhere/two.png,1,1", "three,0,0", f"{uid},1,0")
    table(root, *rows, "gone,1,1")
    cohort = load(root, image_ids="path")
    labels = dict(zip(cohort.image_ids, cohort.labels.tolist(), strict=True))
    assert labels == {
        "p/1.dcm": [1, 0],
        "q/1.dcm": [0, 1],
        "q/two.dcm": [1, 1],
        "q/three": [0, 0],
        "four": [1, 0],
    }
    reasons = {e.image_id: e.reason for e in cohort.excluded}
    assert reasons["five.dcm"] == "there is a file, but no row in the table"
    assert "there is no file" in reasons["gone"]
    table(root, "1.dcm,1,0", "three,0,0")
    reasons = {e.image_id: e.reason for e in load(root, image_ids="path").excluded}
    assert "several files fit" in reasons["p/1.dcm"] == reasons["q/1.dcm"]
    table(root, "three,0,0", f"{uid},1,0", "four,0,1")
    reasons = {e.image_id: e.reason for e in load(root, image_ids="path").excluded}
    assert "several rows" in reasons["four"]


def test_labels_in_one_column(tmp_path):
    root = folder_of(tmp_path)
    table(root, "good.dcm,Mass|Effusion", "odd,No Finding", header="Image Index,Finding Labels")
    cohort = load(root)
    assert cohort.label_names == ("Effusion", "Mass", "No Finding")
    assert cohort.no_finding == "No Finding"
    assert sorted(cohort.labels.tolist()) == [[0, 0, 1], [1, 1, 0]]
    table(root, "9,good.dcm,Mass; Effusion", "9,odd,", header="n,who,what")
    cohort = load(root, image="who", findings="what", separator=";", image_ids="path")
    np.testing.assert_array_equal(cohort.labels, [[1, 1], [np.nan, np.nan]])


def test_the_options_of_labels_are_those_of_csv(tmp_path):
    root = folder_of(tmp_path)
    table(root, "good.dcm,-1,,x", "odd,yes,0,y", header="File,mass,OK,name")
    options = {"labels": "OK+Mass", "uncertain": "ones", "blank": "zeros", "no_finding": "OK"}
    cohort = load(root, image_ids="path", **options)
    assert (cohort.label_names, cohort.no_finding) == (("OK", "mass"), "OK")
    np.testing.assert_array_equal(cohort.labels, [[0, 1], [0, 1]])
    table(root, "good.dcm,1 Mass 2", "odd,Edema", header="path,findings")
    cohort = load(root, labels="Mass+Edema", separator="space", image_ids="path")
    assert cohort.label_names == ("Mass", "Edema")
    np.testing.assert_array_equal(cohort.labels, [[1, 0], [0, 1]])
    assert "findings: 2 names in 1 rows are no labels" in cohort.notes
    with pytest.raises(CxrbenchError, match="separator is empty"):
        DICOM(separator="")


def test_what_the_table_says_of_images_and_patients_is_no_label(tmp_path):
    root = folder_of(tmp_path)
    header = "file,Mass,Patient ID,age,gender,view,split,dicom_id"
    table(root, "good.dcm,1,7,58,F,PA,train,1.2", "odd,0,8,33,M,AP,test,1.3", header=header)
    assert load(root).label_names == ("Mass",)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.tsv", "file\tEffusion\ngood.dcm\t1\nodd\t0\n".encode("utf-16")),
        ("t.CSV.gz", gzip.compress("file;Effusion;Bärs\ngood.dcm;1;1\nodd;0;1\n".encode("cp1252"))),
        ("t.csv", b"file,Effusion\ngood.dcm,1\nodd,0\ngood.dcm,1\n"),
    ],
)
def test_a_table_in_any_usual_form(tmp_path, name, data):
    root = folder_of(tmp_path)
    (root / "labels.csv").unlink()
    (root / name).write_bytes(data)
    assert DICOM.recognise(root) == DICOM(path=str(root))
    cohort = load(root, image_ids="path")
    assert cohort.labels[:, 0].tolist() == [1, 0]
    assert cohort.excluded == ()
    assert load(root, table=str(root / name)).label_names == cohort.label_names


BAD = {
    "no column of images": (("good.dcm,1",), "who,Mass", {}, "name it: image=COLUMN"),
    "another column of images": (("good.dcm,1",), "file,Mass", {"image": "who"}, "column 'who'"),
    "no labels": (("good.dcm",), "file", {}, "has no labels"),
    "a label that is none": (("good.dcm,x",), "file,Mass", {}, "Line 2 of"),
    "a label that is not there": (("good.dcm,1",), "file,Mass", {"labels": "Edema"}, "'Edema'"),
    "a name that is not there": (
        ("good.dcm,good.dcm",),
        "file,findings",
        {"labels": "Edema"},
        "names no label 'Edema'",
    ),
    "rows that disagree": (("good.dcm,1", "good.dcm,0"), "file,Mass", {}, "Lines 2 and 3 of"),
    "no image": ((",1",), "file,Mass", {}, "has no file"),
    "ragged": (("good.dcm,1,1",), "file,Mass", {}, "2 cells"),
    "no rows": ((), "file,Mass", {}, "a header and nothing else"),
    "no header": (("odd,1",), "good.dcm,0", {}, "has no column 'image'"),
    "no header, ragged": (("odd,1",), "good.dcm,0,1", {"image": "good.dc"}, "'good.dc'"),
    "two columns": (("odd,1,1",), "good.dcm,file,file", {}, "two columns for 'file'"),
    "no files": (("other,1",), "file,Mass", {}, "not one file"),
    "an open quote": (('"good.dcm,1',), "file,Mass", {}, "unexpected end of data"),
    "NUL": (("good.dcm\0,1",), "good.dcm,Mass", {}, "not a text file"),
}


@pytest.mark.parametrize(("rows", "header", "options", "told"), BAD.values(), ids=BAD.keys())
def test_a_table_that_cannot_be_used(tmp_path, rows, header, options, told):
    """Every cell is secret, that of the header too: a table may have none."""
    root = folder_of(tmp_path)
    table(root, *rows, header=header)
    with pytest.raises(DataError) as error:
        load(root, **options)
    assert told in str(error.value)
    shown = "".join(traceback.format_exception(error.value))
    assert told in shown
    assert "good.dcm" not in shown


def test_wrong_options_say_so(tmp_path):
    with pytest.raises(DataError, match="no folder of DICOM files"):
        DICOM().load()
    with pytest.raises(DataError, match="no folder of DICOM files"):
        DICOM(path=str(tmp_path / "gone")).load()
    with pytest.raises(DataError, match="0 such files"):
        DICOM(path=str(tmp_path)).load()
    with pytest.raises(DataError, match="cannot be read"):
        DICOM(path=str(tmp_path), table="gone.csv").load()


def test_without_pydicom_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'pip install "cxrbench\[dicom\]"'):
        load(folder_of(tmp_path))


def test_a_folder_is_recognised(tmp_path, registry):
    root = folder_of(tmp_path)
    assert find_dataset(str(root), registry, tmp_path) == DICOM(path=str(root))
    (root / "labels.csv").unlink()
    with pytest.raises(DataError, match="for dicom"):
        find_dataset(str(root), registry, tmp_path)
    assert DICOM.recognise(root / "good.dcm") is None
    assert DICOM.recognise(tmp_path / "gone") is None


def test_the_signature_changes_with_the_file(tmp_path):
    root = folder_of(tmp_path)
    cohort, dataset = load(root, image_ids="path"), DICOM(path=str(root))
    before = [dataset.signature(source) for source in cohort.sources]
    write(root / "odd", pixels((50, 50)))
    after = [dataset.signature(source) for source in cohort.sources]
    assert before[0] == after[0]
    assert before[1] != after[1]
    assert dataset.read(cohort.sources[1], max_pixels=2500).shape == (50, 50)


# What an earlier scan found.


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
    assert "removed 1 entries" in said.out
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
    with pytest.raises(CxrbenchError, match="cannot write to the cache"):
        again(folder_of(tmp_path))


# The key.


def test_the_same_key_gives_the_same_ids_elsewhere(tmp_path, monkeypatch):
    root = folder_of(tmp_path)
    here = load(root)
    (tmp_path / "other").mkdir()
    root.rename(tmp_path / "other" / "place")
    there = load(tmp_path / "other" / "place")
    assert (here.image_ids, here.patient_ids) == (there.image_ids, there.patient_ids)
    assert here.notes[0] == there.notes[0]
    monkeypatch.setenv("CXRBENCH_DICOM_KEY", SECRET + "!")
    other = load(tmp_path / "other" / "place")
    assert not {*here.image_ids, *here.patient_ids} & {*other.image_ids, *other.patient_ids}
    assert here.notes[0] != other.notes[0]


def test_a_pseudonym_is_the_hmac_of_the_patient(tmp_path):
    import hashlib
    import hmac

    cohort = load(folder_of(tmp_path, PatientID=" 4711 "))
    row = 1 - cohort.patient_ids.index(
        hmac.new(SECRET.encode(), b"patient\0good", hashlib.sha256).hexdigest()[:20]
    )
    expected = hmac.new(SECRET.encode(), b"patient\x004711", hashlib.sha256).hexdigest()
    assert cohort.patient_ids[row] == expected[:20]


def test_a_key_is_made_once_kept_safe_and_announced(tmp_path, monkeypatch):
    monkeypatch.delenv("CXRBENCH_DICOM_KEY")
    root = folder_of(tmp_path)
    first = load(root)
    path = tmp_path / "config" / "cxrbench" / "dicom.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) == 64
    assert str(path) in first.notes[0]
    assert "a new key" in first.notes[0]
    assert path.read_text().strip() not in "".join(first.notes)
    assert os.listdir(path.parent) == ["dicom.key"]
    again = load(root)
    assert again.patient_ids == first.patient_ids
    assert "a new key" not in again.notes[0]
    assert load(root, key=str(path)).patient_ids == first.patient_ids


def test_a_key_that_cannot_be_used(tmp_path, monkeypatch):
    root = folder_of(tmp_path)
    path = tmp_path / "key"
    with pytest.raises(DataError, match="cannot be read"):
        load(root, key=str(path))
    path.write_text(SECRET)
    path.chmod(0o640)
    with pytest.raises(DataError, match="mode 640"):
        load(root, key=str(path))
    path.chmod(0o600)
    assert load(root, key=str(path)).patient_ids == load(root).patient_ids
    path.write_text("abcde")
    with pytest.raises(DataError, match="5 characters") as error:
        load(root, key=str(path))
    assert "abcde" not in str(error.value)
    monkeypatch.setenv("CXRBENCH_DICOM_KEY", "")
    with pytest.raises(DataError, match="0 characters"):
        load(root)


def test_the_crosswalk_leads_back_to_files(tmp_path):
    root = folder_of(tmp_path, Modality="CT")
    (root / "b\udce9.dcm").touch()
    path = root / "crosswalk.csv"
    cohort = load(root, crosswalk=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert lines[0] == "id,file,reason"
    assert lines[1] == f"{cohort.image_ids[0]},good.dcm,"
    assert len(lines) == 1 + len(cohort) + len(cohort.excluded)
    assert load(root, crosswalk=str(path)).excluded == cohort.excluded  # it is no file of the data
    path.unlink()
    with pytest.raises(DataError, match="cannot be written"):
        load(root, crosswalk=str(tmp_path / "gone" / "c.csv"))


# What must not get out.

SECRETS = (
    *("DOEPLANTED", "JANEPLANTED", "MRN998877", "19440203", "ACC554433", "STMARYPLANTED"),
    *("1.2.826.0.1.99887766", "DRWHOPLANTED", "SCANNERPLANTED", "FOLDERPLANTED", "FILEPLANTED"),
)


def planted(path: Path, number: int, **elements) -> None:
    dataset = radiograph(
        pixels((64, 64), seed=number),
        **{
            "PatientName": "DOEPLANTED^JANEPLANTED",
            "PatientID": f"MRN998877{number // 2}",
            "PatientAge": "045Y",
            "PatientBirthDate": "19440203",
            "StudyDate": "19440203",
            "AccessionNumber": "ACC554433",
            "InstitutionName": "STMARYPLANTED",
            "ReferringPhysicianName": "DRWHOPLANTED",
            "StationName": "SCANNERPLANTED",
            "SOPInstanceUID": f"1.2.826.0.1.99887766.{number}",
            "StudyInstanceUID": "1.2.826.0.1.99887766.0",
            "StudyDescription": "CHEST DOEPLANTED",
            "ImageComments": "MRN998877",
            **elements,
        },
    )
    save(path, dataset)


@pytest.fixture
def archive(tmp_path) -> Path:
    """Files whose headers, names and folders identify; good ones, wrong ones, damaged ones."""
    root = tmp_path / "archive"
    names = []
    for number in range(24):
        name = f"FOLDERPLANTED{number % 5}/FILEPLANTED{number}.dcm"
        planted(root / name, number)
        names.append(name)
    bad = "FOLDERPLANTED0/FILEPLANTED-"
    planted(root / f"{bad}view", 90, ViewPosition="DOEPLANTED")
    planted(root / f"{bad}part", 91, BodyPartExamined="DOEPLANTED")
    planted(root / f"{bad}modality", 92, Modality="DOEPLANTED")
    # No UID and no date: pydicom warns of them, and quotes them.
    uid = {"SOPInstanceUID": "1.2.826.0.1.99887766.DOEPLANTED"}
    planted(root / f"{bad}text", 93, PatientAge=None, PatientBirthDate="DOEPLANTED", **uid)
    odd = (root / names[0]).read_bytes()
    (root / f"{bad}cut").write_bytes(odd[:-50])
    (root / f"{bad}number").write_bytes(odd.replace(b"OW\0\0", b"XX\0\0"))
    planted(root / f"{bad}frames", 94, NumberOfFrames=1, Manufacturer="DOEPLANTED")
    data = (root / f"{bad}frames").read_bytes().replace(b"IS\x02\x001 ", b"IS\x02\x00DO")
    (root / f"{bad}frames").write_bytes(data)
    # Whole by its header, but its pixels cannot be decoded: found while images are read.
    broken = radiograph(
        pixels((64, 64)), PatientID="MRN998877", SOPInstanceUID="1.2.826.0.1.99887766.77"
    )
    broken.compress(JPEG2000Lossless, generate_instance_uid=False)
    whole = save(root / f"{bad}broken", broken).read_bytes()
    place = whole.index(b"\xff\x93") + 2
    (root / f"{bad}broken").write_bytes(whole[:place] + b"\xff" * 400 + whole[place + 400 :])
    rows = [f"{name},{index // 2 % 2},{index // 4 % 2}" for index, name in enumerate(names)]
    table(root, *rows, f"{bad}broken,1,0", "FILEPLANTED-gone,1,0")
    return root


def leaks(data: bytes) -> set[str]:
    """Which secrets are in these bytes, as text of one or two bytes or as UTF-32."""
    encodings = ("utf-8", "utf-16-le", "utf-32-le")
    return {s for s in SECRETS if any(s.encode(e) in data for e in encodings)}


def everything_below(folder: Path) -> bytes:
    """Names and content of all files, and what is packed in them."""
    found = ["\n".join(str(path.relative_to(folder)) for path in folder.rglob("*")).encode()]
    for path in sorted(filter(Path.is_file, folder.rglob("*"))):
        found.append(path.read_bytes())
        if path.suffix == ".parquet":
            found.append(pd.read_parquet(path).to_csv().encode())
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                found += [packed.read(name) for name in packed.namelist()]
    return b"\n".join(found)


def test_neither_loading_nor_reading_warns_of_anything_identifying(archive, caplog):
    dataset = DICOM(path=str(archive))
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        cohort = dataset.load()
        for source in cohort.sources:
            with contextlib.suppress(UnreadableImage):
                dataset.read(source, max_pixels=10**6)
    assert leaks((caplog.text + "".join(str(w.message) for w in warned)).encode()) == set()
    assert leaks(repr(replace(cohort, sources=())).encode()) == set()


def test_nothing_identifying_reaches_store_run_or_output(cli, archive, tmp_path, caplog):
    where = tmp_path / "out"
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "key").chmod(0o600)
    private = f"key={tmp_path / 'key'},crosswalk={tmp_path / 'crosswalk.csv'}"
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        said = cli(
            *("run", "tinynet+grid", "--data", f"dicom:path={archive},{private}"),
            *("--runs", where / "runs", "--cache", where / "cache", "--json"),
            *("--epochs", 1, "--weights", "none", "--protocol", "probe"),
            *("--fractions", "0.5,0.2,0.3", "--max-bad", 0.1),
        )
    assert said.code == 0, said.err
    told = said.out + said.err + caplog.text + "".join(str(w.message) for w in warned)
    assert leaks(told.encode()) == set()
    assert "1 of 25 images are left out" in said.err
    assert len(json.loads(said.out)["boards"]) == 1
    written = everything_below(where)
    assert b"y_score_Mass" in written
    assert b"does not show the chest alone: another part of the body" in written
    assert leaks(written) == set()
    assert leaks(everything_below(archive)) == set(SECRETS)  # the search finds what is there
    for path in where.glob("runs/*/run.json"):
        options = json.loads(path.read_text())["dataset_options"]
        assert options["image_ids"] == "hash"
        assert not {"path", "table", "key", "crosswalk"} & options.keys()


def test_errors_quote_nothing_identifying(cli, archive, tmp_path):
    where = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    doe, usual = "FILEPLANTED,1,0", "file,Effusion,Mass"
    for rows, header in (
        ((doe,), usual),
        ((doe, "FILEPLANTED,0,1"), usual),
        (("FILEPLANTED,1",), usual),
        (("FILEPLANTED,DOEPLANTED,1",), usual),
        ((doe, "MRN998877,1,0"), "DOEPLANTED,file,Mass"),
        ((doe,), "FILEPLANTED,1,1"),
        ((doe, "FILEPLANTED,1"), "FILEPLANTED,1,1"),
    ):
        table(archive, *rows, header=header)
        said = cli("run", "prior", "--data", f"dicom:path={archive}", *where)
        assert said.code == 2
        assert "dicom" in said.err or "labels.csv" in said.err
        assert leaks((said.out + said.err).encode()) == set()


def test_the_text_that_repeats_a_run_works_from_any_folder(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    here = DICOM(path="archive", table="a/labels.csv", key="key", crosswalk="c.csv")
    monkeypatch.chdir(tmp_path)
    text = data_text(here)
    monkeypatch.chdir("/")
    there = find_dataset(text, registry, Path("/"))
    assert there == DICOM(
        path=str(tmp_path / "archive"),
        table=str(tmp_path / "a" / "labels.csv"),
        key=str(tmp_path / "key"),
        crosswalk=str(tmp_path / "c.csv"),
    )


def test_predict_takes_dicom_files_and_refuses_what_is_no_chest_radiograph(cli, grid, tmp_path):
    import cv2

    folder = tmp_path / "new"
    planted(folder / "a.dcm", 1, PatientID=None, ViewPosition=None, BodyPartExamined=None)
    planted(folder / "b.DCM", 2, ViewPosition="LL")
    planted(folder / "c.dicom", 3, Modality="CT")
    (folder / "d.dcm").write_text("no image")
    os.mkfifo(folder / "e.dcm")
    image = DICOM().read(str(folder / "a.dcm"), max_pixels=10**6)
    cv2.imwrite(str(folder / "f.png"), image)

    said = cli("predict", grid.run_of("grid"), folder, "--json", "--engine", "keras")

    assert said.code == 0, said.err
    rows = {Path(row["image"]).name: row for row in json.loads(said.out)["predictions"]}
    assert {name: row["error"] for name, row in rows.items()} == {
        "a.dcm": None,
        "b.DCM": "a lateral view",
        "c.dicom": "no radiograph: modality CT",
        "d.dcm": "not a DICOM file",
        "e.dcm": "cannot be read: not a file",
        "f.png": None,
    }
    scores = [{k: v for k, v in rows[n].items() if k != "image"} for n in ("a.dcm", "f.png")]
    assert scores[0] == scores[1]
    assert leaks((said.out + said.err).encode()) == set()


def test_pydicom_is_imported_only_where_it_is_used():
    code = "import sys, cxrbench.builtin.dicom; print('pydicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


REAL = os.environ.get("CXRBENCH_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
def test_real_files(tmp_path):
    root = Path(str(REAL)) / "dicom"
    labels = table(tmp_path, *(f"{path.name},1,0" for path in root.glob("*.dcm")))
    cohort = load(root, table=str(labels), image_ids="path")
    names = ("cr-chest-jpeg-baseline.dcm", "cr-chest-mono1-jpeg2000.dcm", "dx-chest-pa.dcm")
    assert cohort.image_ids == names
    assert cohort.ages.tolist() == [62, 64, 81]
    assert (cohort.sexes, cohort.views) == (("M", "F", "M"), ("PA", "PA", "PA"))
    assert {e.image_id: e.reason for e in cohort.excluded} == {
        "cr-extremity-mono1-jpeg2000.dcm": "does not show the chest alone: EXTREMITY",
        "ct-chest.dcm": "no radiograph: modality CT",
        "dx-ribcage.dcm": "does not show the chest alone: RIBCAGE",
        "mr-multiframe.dcm": "no radiograph: modality MR",
        "mr-truncated.dcm": "truncated: the pixels end early",
    }
