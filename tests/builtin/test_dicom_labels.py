"""The table of labels beside DICOM files: how it joins them, and what it may look like."""

from __future__ import annotations

import gzip
import traceback

import numpy as np
import pytest

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

from dicom_files import write
from dicom_folders import folder_of, load, table, use_key

from cxrbench import CxrbenchError, DataError
from cxrbench.builtin.dicom import DICOM
from cxrbench.output.display import SilentDisplay

# What pydicom says where these tests write what is wrong.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path):
    use_key(monkeypatch, tmp_path)


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
    assert "findings: 2 names in 1 rows are not labels" in cohort.notes
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
    # Packed bytes hold the time: as names of tests they would differ between pytest's workers.
    ids=["UTF-16", "Windows-1252, packed", "a row twice"],
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
    "no rows": ((), "file,Mass", {}, "a header but no rows"),
    "no header": (("odd,1",), "good.dcm,0", {}, "has no column 'image'"),
    "no header, ragged": (("odd,1",), "good.dcm,0,1", {"image": "good.dc"}, "'good.dc'"),
    "two columns": (("odd,1,1",), "good.dcm,file,file", {}, "two columns for 'file'"),
    "no files": (("other,1",), "file,Mass", {}, "no file is a frontal"),
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


def test_a_check_names_all_faults_of_the_table_and_nothing_that_is_in_it(tmp_path):
    root = folder_of(tmp_path)
    for name in ("Miller_Anna", "twice", "Smith_Bob"):
        write(root / name, PatientID=name)
    table(
        *(root, "good.dcm,1,0", "Miller_Anna,positive?,0", ",1,0", "twice,1,0", "odd,0,1"),
        *("twice,0,0", "Smith_Bob,0,Jones", "cut off"),
    )
    dataset = DICOM(path=str(root), image_ids="path", crosswalk=str(tmp_path / "crosswalk.csv"))
    with pytest.raises(DataError):
        dataset.load()
    examined = dataset.examine(SilentDisplay(), tmp_path / "cache")
    assert [(fault.check, fault.image_id, fault.found) for fault in examined.faults] == [
        (
            "cannot-load",
            "",
            f"Line 9 of {root / 'labels.csv'} does not fit the header: 3 cells, as the header has",
        ),
        ("unknown-label", "", "no label in the column 'Effusion' in line 3"),
        ("cannot-load", "", "no file in line 4"),
        ("unknown-label", "", "no label in the column 'Mass' in line 8"),
        ("contradicting-rows", "", "rows of one image in lines 5, 7"),
    ]
    assert examined.cohort.image_ids == ("good.dcm", "odd")
    assert examined.cohort.excluded == (), "a file of a bad row has a row"
    assert not (tmp_path / "crosswalk.csv").exists()


def test_a_sound_archive_is_examined_as_it_is_loaded(tmp_path):
    root = folder_of(tmp_path)
    examined = DICOM(path=str(root)).examine(SilentDisplay(), tmp_path / "cache")
    assert (examined.faults, examined.has_images) == ((), True)
    assert examined.cohort.image_ids == load(root).image_ids


def test_a_table_without_a_sound_row_is_one_message(tmp_path):
    root = folder_of(tmp_path)
    table(root, "good.dcm,Miller,0", "odd,0,Jones")
    with pytest.raises(DataError, match="not shown") as caught:
        DICOM(path=str(root)).examine(SilentDisplay(), tmp_path / "cache")
    assert "Miller" not in str(caught.value)
