"""Pseudonyms and their key, and that nothing identifying leaves a DICOM archive."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

from dicom_files import SECRET, pixels, radiograph, save
from dicom_folders import folder_of, load, table, use_key
from pydicom.uid import JPEG2000Lossless

from cxrbench import DataError, UnreadableImage
from cxrbench.builtin.dicom import DICOM

# What pydicom says where these tests write what is wrong.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path):
    use_key(monkeypatch, tmp_path)


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
    assert "1 of 25 images are excluded" in said.err
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


def test_predict_takes_dicom_files_and_refuses_what_is_no_chest_radiograph(cli, grid, tmp_path):
    import cv2

    folder = tmp_path / "new"
    planted(folder / "a.dcm", 1, PatientID=None, ViewPosition=None, BodyPartExamined=None)
    planted(folder / "b.DCM", 2, ViewPosition="LL")
    planted(folder / "c.dicom", 3, Modality="CT")
    (folder / "d.dcm").write_text("no image")
    os.mkfifo(folder / "e.dcm")
    planted(folder / "g1.2", 1, PatientID=None)
    planted(folder / "h", 4, Modality="PX", BodyPartExamined="JAW")
    image = DICOM().read(str(folder / "a.dcm"), max_pixels=10**6)
    cv2.imwrite(str(folder / "f.png"), image)
    command = ("predict", grid.run_of("grid"), folder, "--json", "--engine", "keras")

    said = cli(*command)
    rows = {Path(row["image"]).name: row for row in json.loads(said.out)["predictions"]}
    assert rows["a.dcm"]["error"] == "does not say from where it was taken (View Position)"
    assert "--accept-unknown" in said.err
    said = cli(*command, "--accept-unknown")

    assert said.code == 0, said.err
    rows = {Path(row["image"]).name: row for row in json.loads(said.out)["predictions"]}
    assert {name: row["error"] for name, row in rows.items()} == {
        "a.dcm": None,
        "b.DCM": "a lateral view",
        "c.dicom": "not a radiograph: modality CT",
        "d.dcm": "not a DICOM file",
        "e.dcm": "cannot be read: not a file",
        "f.png": None,
        "g1.2": None,
        "h": "not a radiograph: modality PX",
    }
    scores = [
        {k: v for k, v in rows[n].items() if k != "image"} for n in ("a.dcm", "f.png", "g1.2")
    ]
    assert scores[0] == scores[1] == scores[2]
    assert leaks((said.out + said.err).encode()) == set()


def test_the_cache_of_headers_does_not_tell_which_file_is_whose(tmp_path, recorder):
    root = folder_of(tmp_path)
    dataset, cache = DICOM(path=str(root)), tmp_path / "cache"
    cohort = dataset.load_showing(recorder, cache)
    (path,) = (cache / "headers").iterdir()
    text = path.read_text()
    assert all(patient in text for patient in cohort.patient_ids)
    for source in cohort.sources:
        stat = os.stat(source)
        for number in (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino):
            assert str(number) not in text
    before = path.stat().st_size
    dataset.load_showing(recorder, cache)
    assert path.stat().st_size == before


def test_headers_of_the_first_version_are_removed_and_read_again(tmp_path, recorder):
    root = folder_of(tmp_path)
    dataset, cache = DICOM(path=str(root)), tmp_path / "cache"
    dataset.load_showing(recorder, cache)
    (path,) = (cache / "headers").iterdir()
    first, *lines = path.read_text().splitlines()
    old = [json.dumps([json.loads(line)[0], "1+:1716:17", "a lateral view"]) for line in lines[:2]]
    path.write_text("\n".join((first, *old, *lines)) + "\n")
    assert len(dataset.load_showing(recorder, cache)) == 2
    assert "1716" not in path.read_text()
    assert len(path.read_text().splitlines()) == 1 + len(lines)


def test_a_file_that_is_replaced_with_the_same_size_and_time_is_read_again(tmp_path, recorder):
    root = folder_of(tmp_path)
    dataset, cache = DICOM(path=str(root), image_ids="path"), tmp_path / "cache"
    first = dataset.load_showing(recorder, cache)
    path = root / "odd"
    known = path.stat()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"045Y", b"046Y"))
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    second = dataset.load_showing(recorder, cache)
    row = first.image_ids.index("odd")
    assert (first.ages[row], second.ages[row]) == (45, 46)
