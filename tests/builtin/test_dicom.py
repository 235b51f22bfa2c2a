"""The dataset dicom: which files it takes, what it knows of them, and where it is used."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

from dicom_files import as_jpeg, compressed, pixels, radiograph, save, write
from dicom_folders import folder_of, load, only, table, use_key
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from cxrbench import DataError
from cxrbench.builtin.dicom import DICOM, cxrbench_datasets
from cxrbench.data.datasets import find_dataset
from cxrbench.parameters import data_text

# What pydicom says where these tests write what is wrong.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path):
    use_key(monkeypatch, tmp_path)


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
        ({"Modality": None, "SOPClassUID": DigitalXRayImageStorageForPresentation},
         (45, "F", "PA")),
        ({"Modality": None, "SOPClassUID": None}, (45, "F", "PA")),  # by the file meta group
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
        ({"Modality": "CT"}, "not a radiograph: modality CT"),
        ({"Modality": "DOE"}, "not a radiograph: another modality"),
        ({"Modality": None, "SOPClassUID": SecondaryCaptureImageStorage}, "has no modality"),
        ({"Modality": None, "SOPClassUID": CTImageStorage}, "its SOP class is another"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw data for processing"),
        ({"BodyPartExamined": "RIBCAGE"}, "does not show the chest alone: RIBCAGE"),
        ({"BodyPartExamined": "CHEST_ABDOMEN"}, "does not show the chest alone: another part"),
        ({"BodyPartExamined": "JOHN DOE"}, "does not show the chest alone: another part"),
        ({"BodyPartExamined": None}, "does not say which part of the body"),
        (
            {"BodyPartExamined": None, "AnatomicRegionSequence": code("71341001")},
            "a part of the body other than",
        ),
        ({"ViewPosition": "LL"}, "a lateral view"),
        ({"ViewPosition": "LATERAL"}, "a lateral view"),
        ({"ViewPosition": "LLD"}, "not frontal: LLD"),
        ({"ViewPosition": "DOE"}, "not frontal: another view"),
        ({"ViewPosition": "PA LAT"}, "a lateral view"),
        ({"ViewPosition": None}, "does not say from where"),
        ({"ViewPosition": None, "PatientOrientation": ["A", "F"]}, "a lateral view"),
        ({"ViewPosition": None, "ViewCodeSequence": code("R-10236")}, "a lateral view"),
        ({"NumberOfFrames": 3}, "several frames"),
        ({"PatientID": None}, "has no Patient ID"),
        ({"PatientID": "  "}, "has no Patient ID"),
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
    assert "excluded 7 files or rows" in "\n".join(cohort.notes)


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
    )


_FRESH = """
import sys
from cxrbench.builtin._dicom import header
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.pixels import read_pixels
from cxrbench.builtin._dicom.radiograph import read_radiograph

def modules():
    return {name for name in sys.modules if name.split(".")[0] == "pydicom"}

assert not modules()
load, seen = header.load_pydicom, []
def loaded():
    load()
    seen.append(modules())
header.load_pydicom = loaded
for path in sys.argv[1:]:
    read_radiograph(path, Key(b"k" * 32, ""), accept_unknown=True)
    read_pixels(path, max_pixels=10**6)
print(sorted(modules() - seen[0]))
"""


def test_every_module_of_pydicom_is_imported_under_one_lock():
    """Threads that import two of them at the same time see one of them half imported."""
    corpus = Path(__file__).parents[1] / "corpora" / "dicom"
    command = [sys.executable, "-c", _FRESH, *map(str, sorted(corpus.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


_SCAN = """
import sys
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.scan import Memory, scan
assert "pydicom" not in sys.modules
key = Key(b"k" * 32, "")
memory = Memory(None, "", key, accept_unknown=False)
found = scan(sys.argv[1], key, memory, leave_out=(), accept_unknown=False, display=None)
print(len(found.radiographs))
"""


def test_fresh_processes_scan_with_threads(tmp_path):
    for number in range(16):
        write(tmp_path / str(number), pixels(seed=number))
    command = [sys.executable, "-c", _SCAN, str(tmp_path)]
    fresh = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    assert [process.communicate()[0] for process in fresh] == ["16\n"] * 6


def test_pydicom_is_imported_only_where_it_is_used():
    code = "import sys, cxrbench.builtin.dicom; print('pydicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def anonymous(root: Path, count: int = 3, **elements) -> Path:
    """Files as published collections have them: no modality, patient, body part, view or UID."""
    nothing = dict.fromkeys(
        ("Modality", "PatientID", "BodyPartExamined", "ViewPosition", "SOPInstanceUID"), None
    )
    for number in range(count):
        write(root / f"{number}.dicom", pixels(seed=number), **{**nothing, **elements})
    return root


@pytest.mark.parametrize("column", ["patient_id", "who"])
def test_patients_can_be_those_of_the_table(column, tmp_path):
    root = anonymous(tmp_path / "archive")
    table(root, "0,A,1,0", "1,B,0,1", "2,A,0,0", header=f"image_id,{column},Effusion,Mass")
    options = {"patient": "who"} if column == "who" else {}
    cohort = load(root, unknown="accept", image_ids="path", **options)
    assert cohort.image_ids == ("0.dicom", "1.dicom", "2.dicom")
    first, second, third = cohort.patient_ids
    assert first == third != second
    assert "A" not in cohort.patient_ids
    assert cohort.label_names == ("Effusion", "Mass")
    said = "3 files have no Patient ID: all patients are those of the table"
    assert (said in cohort.notes) == (not options)


def test_headers_and_table_are_never_mixed(tmp_path):
    root = tmp_path / "archive"
    write(root / "a", PatientID="1")
    write(root / "b", PatientID="2")
    table(root, "a,5,1", "b,5,0", header="image,patient,Mass")
    assert len(set(load(root).patient_ids)) == 2  # all headers have one
    assert len(set(load(root, patient="patient").patient_ids)) == 1
    write(root / "b", PatientID=None)
    assert len(set(load(root).patient_ids)) == 1


def test_a_row_without_a_patient_is_left_out(tmp_path):
    root = anonymous(tmp_path / "archive", 2)
    table(root, "0,A,1", "1,,1", header="image,patient,Mass")
    cohort = load(root, unknown="accept", image_ids="path")
    assert cohort.image_ids == ("0.dicom",)
    assert [e.reason for e in cohort.excluded] == [
        "the table does not name its patient: a split could leak"
    ]
    with pytest.raises(DataError, match="no column"):
        load(root, patient="nobody")


def test_the_advice_of_the_message_leads_to_a_cohort(tmp_path):
    root = anonymous(tmp_path / "archive")
    table(root, "0,A,1,0", "1,B,0,1", "2,A,0,0", header="image_id,who,Effusion,Mass")
    with pytest.raises(DataError, match=r"to do: .*unknown=accept") as error:
        load(root, labels="Effusion+Mass")
    assert "patient=" not in str(error.value)
    with pytest.raises(DataError, match=r"to do: .*patient=COLUMN") as error:
        load(root, unknown="accept", labels="Effusion+Mass")
    assert "unknown=accept" not in str(error.value)
    options = {"patient": "who", "labels": "Effusion+Mass"}
    assert len(load(root, unknown="accept", **options)) == 3


NAMES = [
    ("1.2.840.1.17", "1.2.840.1.17"),
    ("1.2.840.1.17.dcm", "1.2.840.1.17"),
    ("1.2.840.1.17.DCM", "1.2.840.1.17.dcm"),
    ("1.2.840.1.17", "1.2.840.1.17.dcm"),
    ("a/1.2.840.1.17.dicom", "1.2.840.1.17"),
    ("a/CR.1.17.dcm", "a/CR.1.17"),
    ("IM.0001.IMA", "IM.0001"),
    ("IM0001.dcm", "IM0001.png"),
]


@pytest.mark.parametrize(("file", "row"), NAMES)
def test_names_have_dots_and_no_ending_as_they_like(file, row, tmp_path):
    root = tmp_path / "archive"
    write(root / file, PatientID="1")
    write(root / "1.2.840.1", PatientID="2")
    write(root / "IM", PatientID="3")
    table(root, f"{row},1,0", "1.2.840.1,0,0", "IM,0,0")
    cohort = load(root, image_ids="path")
    assert set(cohort.image_ids) == {file, "1.2.840.1", "IM"}
    assert cohort.excluded == ()
    assert cohort.labels[cohort.image_ids.index(file)].tolist() == [1, 0]


def test_rows_that_can_have_no_file_are_counted(tmp_path):
    root = folder_of(tmp_path, ViewPosition="LL")
    lateral = "1.2.3.4.5"  # the table may mean the lateral file by the UID in it
    table(root, "good.dcm,1,0", f"{lateral},0,0", "gone.dcm,0,1", "lost.dcm,0,0")
    assert load(root).absent == 2
    table(root, "good.dcm,1,0", "odd,0,0", "gone.dcm,0,1", "lost.dcm,0,0")
    assert load(root).absent == 2


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
        "ct-chest.dcm": "not a radiograph: modality CT",
        "dx-ribcage.dcm": "does not show the chest alone: RIBCAGE",
        "mr-multiframe.dcm": "not a radiograph: modality MR",
        "mr-truncated.dcm": "truncated: the pixels end early",
    }
