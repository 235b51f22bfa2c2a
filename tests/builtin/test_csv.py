"""Tables of every kind: which column is what, what labels and views come to, and clear errors."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrbench import CxrbenchError, DataError
from cxrbench.builtin.csv import CSV
from cxrbench.data.cohort import validate
from cxrbench.data.datasets import find_dataset
from cxrbench.data.splits import make_split
from cxrbench.output.display import SilentDisplay
from cxrbench.parameters import data_text

NAN = np.nan
GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "own-data.md"

CHEXPERT_LABELS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def table(root: Path, text: str | bytes, name: str = "t.csv", **options) -> CSV:
    """The dataset of a table, with an empty file for each image that it names."""
    data = text.encode() if isinstance(text, str) else text
    (root / name).write_bytes(data)
    touch(root, "a.png", "b.png", "c.png")
    return CSV(path=str(root / name), **options)


def message(dataset: CSV) -> str:
    with pytest.raises(DataError) as error:
        dataset.load()
    text = str(error.value)
    assert all(part in text for part in ("expected:", "got:", "to do:"))
    return text


def test_a_table_with_the_usual_headings_needs_no_option(tmp_path):
    cohort = table(
        tmp_path,
        "Path,patient_id,Age,Gender,View Position,Mass,No Finding\n"
        "a.png,p1,058Y,Female,PA,1,0\nb.png,p1,,M,AP,-1,\nc.png,p2,3,,,0.0,1.0\n",
    ).load()
    validate(cohort)
    assert cohort.image_ids == ("a.png", "b.png", "c.png")
    assert cohort.patient_ids == ("p1", "p1", "p2")
    assert cohort.label_names == ("Mass", "No Finding")
    np.testing.assert_array_equal(cohort.labels, np.float32([[1, 0], [NAN, NAN], [0, 1]]))
    np.testing.assert_array_equal(cohort.ages, np.float32([58, NAN, 3]))
    assert (cohort.sexes, cohort.views) == (("F", "M", ""), ("PA", "AP", ""))
    assert cohort.no_finding == "No Finding"
    assert cohort.sources == tuple(str(tmp_path / name) for name in cohort.image_ids)
    assert cohort.notes == cohort.excluded == ()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 0, NAN, NAN]),
        ({"uncertain": "ones"}, [1, 0, 1, NAN]),
        ({"uncertain": "zeros"}, [1, 0, 0, NAN]),
        ({"blank": "zeros"}, [1, 0, NAN, 0]),
        ({"uncertain": "ones", "blank": "zeros"}, [1, 0, 1, 0]),
    ],
)
def test_what_uncertain_and_blank_labels_come_to(tmp_path, options, expected):
    touch(tmp_path, "d.png")
    text = "image,patient,Mass\na.png,1,1.0\nb.png,2,false\nc.png,3,-1.0\nd.png,4,\n"
    cohort = table(tmp_path, text, **options).load()
    np.testing.assert_array_equal(cohort.labels[:, 0], np.float32(expected))


def test_the_options_name_the_columns(tmp_path, registry):
    (tmp_path / "x").mkdir()
    made = table(
        tmp_path,
        "file;who;years;m/f;side;A b;C;D;more\n../a.png;7;9;F;pa;1;0;1;x\n../b.png;8;9;M;;0;;0;y\n",
        "x/t.csv",
    )
    text = f"csv:path={made.path},image=file,patient=who,age=years,sex=M/F,view=side,labels=A b+c"
    dataset = find_dataset(text, registry, tmp_path)
    touch(tmp_path, "a.png", "b.png")
    cohort = dataset.load()
    assert cohort.label_names == ("A b", "C")
    assert cohort.patient_ids == ("7", "8")
    assert (cohort.sexes, cohort.views, cohort.ages.tolist()) == (("F", "M"), ("PA", ""), [9, 9])
    assert cohort.no_finding is None
    assert find_dataset(data_text(dataset), registry, tmp_path) == dataset


@pytest.mark.parametrize(
    ("options", "names", "labels"),
    [
        ({}, ("Mass", "No Finding", "Nodule"), [[1, 0, 1], [0, 1, 0], [NAN] * 3]),
        ({"labels": "Nodule+Mass"}, ("Nodule", "Mass"), [[1, 1], [0, 0], [NAN] * 2]),
        ({"blank": "zeros", "labels": "Mass"}, ("Mass",), [[1], [0], [0]]),
    ],
)
def test_all_labels_in_one_cell(tmp_path, options, names, labels):
    text = "image,patient,Finding Labels\na.png,1,Nodule| Mass\nb.png,2,No Finding\nc.png,3,\n"
    cohort = table(tmp_path, text, **options).load()
    assert cohort.label_names == names
    np.testing.assert_array_equal(cohort.labels, np.float32(labels))
    told = "\n".join(cohort.notes)
    assert ("rows are not labels\n  they are " in told) == ("labels" in options)


@pytest.mark.parametrize(("separator", "written"), [(";", ";"), ("comma", ","), ("/", "/")])
def test_the_separator_of_labels(tmp_path, separator, written):
    text = f'image\tpatient\twhat\na.png\t1\t"Mass{written}Edema"\nb.png\t2\tMass\n'
    cohort = table(tmp_path, text, findings="what", separator=separator).load()
    assert cohort.label_names == ("Edema", "Mass")
    with pytest.raises(CxrbenchError, match="separator is empty"):
        CSV(separator="")


def test_a_patient_that_is_a_part_of_the_path(tmp_path):
    text = "image,Mass\na.png,1\nb.png,0\n"
    for pattern, patients in (("[a-z]", ("a", "b")), (r"(.)\.png", ("a", "b"))):
        dataset = table(tmp_path, text, patient="image", patient_pattern=pattern)
        assert dataset.load().patient_ids == patients
    assert "patient_pattern=[0-9]+" in message(
        table(tmp_path, text, patient="image", patient_pattern="[0-9]+")
    )
    with pytest.raises(CxrbenchError, match="a regular expression"):
        CSV(patient_pattern="(")


def test_patients_that_nobody_knows(tmp_path):
    text = "image,split,Mass\na.png,train,1\nb.png,valid,0\nc.png,TEST,0\n"
    assert "patients=unknown" in message(table(tmp_path, text))
    dataset = table(tmp_path, text, patients="unknown")
    cohort = dataset.load()
    validate(cohort)
    assert cohort.patients_known is False
    assert cohort.label_names == ("Mass",)
    split = make_split(cohort, dataset, "official")
    assert split.parts.tolist() == ["train", "val", "test"]
    with pytest.raises(DataError, match="are unknown"):
        make_split(cohort, dataset, "patient")
    with pytest.raises(CxrbenchError, match="contradicts"):
        CSV(patients="unknown", patient="image")


def test_published_parts(tmp_path):
    text = "image,patient,Mass,part\na.png,1,1,train_val\nb.png,2,0,\nc.png,3,0,test\n"
    dataset = table(tmp_path, text, split="PART")
    cohort = dataset.load()
    assert dataset.official_parts(cohort, None) == ("train_val", "", "test")
    assert table(tmp_path, text, labels="Mass").official_parts(cohort, None) is None
    with pytest.raises(DataError, match="reads its split from the table"):
        dataset.official_parts(cohort, tmp_path)
    odd = table(tmp_path, text.replace("train_val", "fold 3"), split="part")
    with pytest.raises(DataError, match=r"Line 2 (.|\n)*'fold 3'"):
        odd.official_parts(cohort, None)


def test_files_are_found_by_their_name_and_by_it_without_extension(tmp_path):
    touch(tmp_path, "deep/d.JPG", "deep/e.png", "deep/e.jpg", "f.tif", "g.png", "g.jpeg")
    names = ("deep\\d.png", "./deep/e.jpg", "f", "deep/e", "g.png", "no.png")
    text = "image,patient,Mass\n" + "".join(f"{name},1,1\n" for name in names)
    cohort = table(tmp_path, text).load()
    validate(cohort)
    assert cohort.image_ids == ("deep/d.png", "deep/e.jpg", "f", "g.png")
    assert [Path(source).name for source in cohort.sources] == ["d.JPG", "e.jpg", "f.tif", "g.png"]
    assert [(item.image_id, item.reason.partition(":")[0]) for item in cohort.excluded] == [
        ("deep/e", "several image files, and the table does not say which"),
        ("no.png", "the table has a row, but there is no image file"),
    ]
    assert len(cohort.notes) == 2


def test_rows_that_repeat_an_image_agree_or_stop_it(tmp_path):
    text = "image,patient,Mass\na.png,1,1\n./a.png,1,1\na,1,1\nb.png,2,0\n"
    cohort = table(tmp_path, text).load()
    assert cohort.image_ids == ("a.png", "b.png")
    assert cohort.notes == ("t.csv: dropped 2 rows that repeat another row",)
    assert "Mass '1' in line 2, '0' in line 4" in message(
        table(tmp_path, text.replace("a,1,1", "a,1,0"))
    )
    assert "patient '1' in line 2, '3' in line 4" in message(
        table(tmp_path, text.replace("a,1,1", "a,3,1"))
    )


BAD = {
    "no images' column": ("img,patient,Mass\na.png,1,1\n", {}, "csv:path=…,image=COLUMN"),
    "a column that is not there": ("image,patient,Mass\na.png,1,1\n", {"age": "years"}, "'years'"),
    "a label that is not there": (
        "image,patient,Mass\na.png,1,1\n",
        {"labels": "Mas"},
        "is it 'Mass'?",
    ),
    "no patients' column": ("image,Mass\na.png,1\n", {}, "does not name the patient of each image"),
    "a blank patient": ("image,patient,Mass\na.png,1,1\nb.png,,0\n", {}, "Line 3"),
    "a blank image": ("image,patient,Mass\na.png,1,1\n,2,0\n", {}, "Line 3"),
    "no labels": ("image,patient\na.png,1\n", {}, "has no labels"),
    "no names of labels": ("image,patient,findings\na.png,1,|\n", {}, "names no label"),
    "a label that no row names": (
        "image,patient,findings\na.png,1,Mass\n",
        {"labels": "Mass+Edma"},
        "names no label 'Edma'",
    ),
    "a label that is none": ("image,patient,visit\na.png,1,1\nb.png,1,7\n", {}, "'7'"),
    "no image": ("image,patient,Mass\nz.png,1,1\n", {}, "no row with an image"),
    "lateral views alone": ("image,patient,view,Mass\na.png,1,LL,1\n", {}, "not a frontal view"),
    "ragged": ("image,patient,Mass\na.png,1\n", {}, "Line 2"),
    "NUL": ("image,patient,Mass\na\0.png,1,1\n", {}, "not a text file"),
}


@pytest.mark.parametrize(("text", "options", "told"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_explained(tmp_path, text, options, told):
    assert told in message(table(tmp_path, text, **options))


def test_paths_that_start_above_the_table(tmp_path):
    touch(tmp_path, "set/a.png")
    (tmp_path / "tables").mkdir()
    text = "image,patient,Mass\nset/a.png,1,1\n"
    (tmp_path / "tables" / "t.csv").write_text(text)
    assert "they exist with images=.." in message(CSV(path=str(tmp_path / "tables" / "t.csv")))
    assert len(CSV(path=str(tmp_path / "tables" / "t.csv"), images="..").load()) == 1
    with pytest.raises(DataError, match="needs the path of its table"):
        CSV().load()


@pytest.mark.parametrize("encode", [
    lambda text: text.encode("latin-1"),
    lambda text: text.encode("utf-16"),
    lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    lambda text: text.replace(",", ";").encode(),
    lambda text: text.replace(",", "\t").encode(),
    lambda text: gzip.compress(text.encode()),
])  # fmt: skip
def test_tables_as_people_write_them(tmp_path, encode):
    touch(tmp_path, "ä.png")
    data = encode("image,patient,Müdigkeit\nä.PNG,1,1\n")
    name = "t.csv.gz" if data[:2] == b"\x1f\x8b" else "t.csv"
    cohort = table(tmp_path, data, name).load()
    assert (cohort.image_ids, cohort.label_names) == (("ä.PNG",), ("Müdigkeit",))


def documented(command: str) -> list[str]:
    """The ``--data`` texts in the guide that hold these words."""
    return [t for t in re.findall(r'--data "?([^"\s]+)', GUIDE.read_text()) if command in t]


def write_chexpert(root: Path) -> None:
    """CheXpert-v1.0-small in miniature: 12 patients, two frontal views and a lateral one each."""
    rows = []
    rng = np.random.default_rng(0)
    for number in range(1, 13):
        study = f"CheXpert-v1.0-small/train/patient{number:05}/study1"
        for view, kind, position in (
            ("view1_frontal", "Frontal", "AP"),
            ("view2_frontal", "Frontal", "PA"),
            ("view3_lateral", "Lateral", ""),
        ):
            path = f"{study}/{view}.jpg"
            touch(root, path)
            labels = rng.choice(["1.0", "0.0", "-1.0", ""], 14).tolist()
            rows.append([path, "Female", 60 + number, kind, position, *labels])
    head = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
    frame = pd.DataFrame(rows, columns=head)
    frame.to_csv(root / "CheXpert-v1.0-small" / "train.csv", index=False)


def test_the_documented_way_to_chexpert(tmp_path, registry, monkeypatch):
    write_chexpert(tmp_path)
    monkeypatch.chdir(tmp_path)
    (text,) = documented("CheXpert")
    cohort = find_dataset(text, registry, tmp_path).load()
    validate(cohort)
    assert (len(cohort), len(set(cohort.patient_ids))) == (24, 12)
    assert cohort.label_names == CHEXPERT_LABELS
    assert cohort.patient_ids[0] == "patient00001"
    assert cohort.views[:2] == ("AP", "PA")
    assert set(cohort.sexes) == {"F"}
    assert cohort.ages[0] == 61
    assert [item.reason for item in cohort.excluded] == ["not a frontal view: Lateral"] * 12
    assert "36 paths start in " in cohort.notes[0]
    assert "CheXpert-v1.0-small/, not in CheXpert-v1.0-small/" in cohort.notes[0]
    assert cohort.notes[1:] == ("excluded 12 of 36 rows: not a frontal view",)
    frame = pd.read_csv("CheXpert-v1.0-small/train.csv").query("`Frontal/Lateral` == 'Frontal'")
    expected = frame[list(CHEXPERT_LABELS)].replace(-1, NAN).to_numpy(np.float32)
    np.testing.assert_array_equal(cohort.labels, expected)
    ones = find_dataset(f"{text},uncertain=ones,blank=zeros", registry, tmp_path).load()
    expected = frame[list(CHEXPERT_LABELS)].fillna(0).replace(-1, 1).to_numpy(np.float32)
    np.testing.assert_array_equal(ones.labels, expected)


def write_mimic(root: Path) -> None:
    """MIMIC-CXR-JPG 2.0.0 in miniature: its three tables, and two images of each study."""
    rng = np.random.default_rng(1)
    chexpert, metadata, split = [], [], []
    for number in range(12):
        subject, study = 10_000_032 + number * 137_000, 50_414_267 + number
        chexpert.append([subject, study, *rng.choice(["1.0", "0.0", "-1.0", ""], 14)])
        for view in ("PA" if number % 2 else "AP", "LATERAL"):
            dicom = f"{number:08x}-{view.lower()}"
            metadata.append([dicom, subject, study, "CHEST", view])
            part = ("train", "validate", "test")[number % 3]
            split.append([dicom, study, subject, part])
            touch(root, f"files/p{str(subject)[:2]}/p{subject}/s{study}/{dicom}.jpg")
    names = [name for name in CHEXPERT_LABELS if name != "Pleural Other"]
    for name, rows, head in (
        ("chexpert", chexpert, ["subject_id", "study_id", *names, "Pleural Other"]),
        ("metadata", metadata, ["dicom_id", "subject_id", "study_id", "Procedure", "ViewPosition"]),
        ("split", split, ["dicom_id", "study_id", "subject_id", "split"]),
    ):
        frame = pd.DataFrame(rows, columns=head)
        frame.to_csv(root / f"mimic-cxr-2.0.0-{name}.csv.gz", index=False)


def test_the_documented_way_to_mimic(tmp_path, registry, monkeypatch):
    write_mimic(tmp_path / "mimic-cxr-jpg")
    monkeypatch.chdir(tmp_path)
    (text,) = documented("mimic")
    dataset = find_dataset(text, registry, tmp_path)
    cohort = dataset.load()
    validate(cohort)
    assert (len(cohort), len(set(cohort.patient_ids)), len(cohort.label_names)) == (12, 12, 14)
    assert cohort.views[:2] == ("AP", "PA")
    assert {item.reason for item in cohort.excluded} == {"not a frontal view: LATERAL"}
    split = make_split(cohort, dataset, "official")
    assert split.parts.tolist() == ["train", "val", "test"] * 4
    told = pd.read_csv("mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert.csv.gz").set_index("subject_id")
    for row, patient in enumerate(cohort.patient_ids):
        expected = told.loc[int(patient), list(cohort.label_names)].replace(-1, NAN)
        np.testing.assert_array_equal(cohort.labels[row], expected.to_numpy(np.float32))


def test_a_run_on_a_table(tiny_nih, tmp_path, cli):
    """NIH's table through the general reader is split and labelled as through its own."""
    where = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache", "--per-label", "--json")
    text = f"csv:path={tiny_nih}/Ground_Truth.csv,images=images"
    boards = []
    for data in (tiny_nih, text):
        said = cli("run", "prior", "--data", data, *where)
        assert said.code == 0
        boards.append(json.loads(said.out)["boards"][0])
    own, general = boards
    assert general["conditions"]["labels"] == ["Effusion", "Mass", "No Finding", "Nodule"]
    assert general["rows"][0]["train_images"] == own["rows"][0]["train_images"]
    counts = [{r["label"]: (r["positives"], r["known"]) for r in b["per_label"]} for b in boards]
    assert counts[1].items() <= counts[0].items()


CELLS = st.sampled_from(
    [
        *("image", "patient", "a.png", "b", "Mass", "1", "0", "-1", "", "nan", "x|y", "LL", "PA"),
        *("findings", "view", "age", "058Y", "../a.png", "/", "~", "a\\b", "é", "1e400", '"'),
    ]
)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=4), min_size=1, max_size=5),
    head=st.sampled_from(["", "image,patient,Mass\n", "image,patient,findings\n"]),
    options=st.fixed_dictionaries(
        {},
        optional={
            "labels": st.sampled_from(["Mass", "+", "Mass+x"]),
            "findings": CELLS,
            "patients": st.just("unknown"),
            "separator": st.sampled_from(["|", "comma", "x"]),
            "uncertain": st.sampled_from(["ones", "zeros"]),
        },
    ),
)
def test_any_table_gives_a_cohort_or_an_error_of_ours(tmp_path, rows, head, options):
    text = head + "\n".join(",".join(row) for row in rows)
    try:
        cohort = table(tmp_path, text, **options).load()
    except CxrbenchError:
        return
    validate(cohort)


def test_a_table_without_images_can_be_examined(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,patient,view,Mass\na.png,1,PA,1\nb.png,2,LATERAL,0\nc.png,3,,0\n")
    examined = CSV(path=str(path)).examine(SilentDisplay(), tmp_path)
    assert not examined.has_images
    assert [fault.check for fault in examined.faults] == ["no-images"]
    assert examined.cohort.image_ids == ("a.png", "c.png"), "no lateral view"
    assert examined.cohort.labels.tolist() == [[1.0], [0.0]]
    with pytest.raises(DataError, match="no row with an image"):
        CSV(path=str(path)).load()


FAULTY = """image,patient,Mass,Nodule,view
a.png,1,1,0,PA
b.png,2,?,0,PA
c.png,3,2,pos,AP
d.png,,0,0,PA
e.png,5,0
f.png,6,0,1,PA
f.png,6,1,1,PA
,7,0,0,PA
g.png,8,0,1,AP Supine
h.png,9,0,1,sitting?
i.png,10,0,1,L
"""


def test_every_fault_of_a_table_is_named_at_once(tmp_path):
    touch(tmp_path, *(f"{name}.png" for name in "abcdefghi"))
    dataset = table(tmp_path, FAULTY)
    examined = dataset.examine(SilentDisplay(), tmp_path)
    faults = [(fault.check, fault.image_id) for fault in examined.faults]
    assert faults == [
        *(("cannot-load", ""), ("unknown-label", "b.png"), ("unknown-label", "c.png")),
        *(("unclear-patient", "d.png"), ("cannot-load", ""), ("contradicting-rows", "f.png")),
        ("unknown-word", ""),
    ]
    text = "\n".join(fault.found for fault in examined.faults)
    for told in ("Line 6", "'?'", "line 3", "'2'", "line 4", "line 5", "line 9", "'sitting?'"):
        assert told in text
    assert examined.cohort.image_ids == ("a.png", "g.png", "h.png")
    assert examined.cohort.views == ("PA", "AP", "")
    assert "Line 6" in message(dataset)


def test_ages_that_nobody_reaches_are_a_fault_and_words_for_unknown_are_none(tmp_path):
    text = "image,patient,age,sex,Mass\na.png,1,414,Unknown,1\nb.png,2,nan,O,0\nc.png,3,old,x,0\n"
    examined = table(tmp_path, text).examine(SilentDisplay(), tmp_path)
    assert [(f.check, f.image_id) for f in examined.faults] == [
        *(("unknown-word", ""), ("impossible-age", "a.png")),
    ]
    assert "'x'" in examined.faults[0].found
    assert not any("sexes" in note for note in examined.cohort.notes)


@pytest.mark.parametrize(("one", "other"), [("13", "13.0"), ("13", "0013"), ("P1", "p-1")])
def test_ids_that_may_be_one_patient_are_noted_for_a_run_too(tmp_path, one, other):
    text = f"image,patient,Mass\na.png,{one},1\nb.png,{other},0\n"
    cohort = table(tmp_path, text).load()
    assert len(set(cohort.patient_ids)) == 2
    assert "1 patients may have several ids" in cohort.notes[-1]


def test_rows_without_a_file_are_counted_and_laterals_are_not(tmp_path):
    text = "image,patient,view,Mass\na.png,1,PA,1\nz.png,2,PA,0\nb.png,3,LL,0\ny.png,3,LL,0\n"
    cohort = table(tmp_path, text).load()
    assert [one.image_id for one in cohort.excluded] == ["z.png", "b.png", "y.png"]
    assert cohort.absent == 1


def test_a_run_stops_before_it_decodes_where_too_many_files_are_missing(tmp_path, cli):
    rows = "".join(f"{n}.png,{n},{n % 2}\n" for n in range(30))
    data = table(tmp_path, "image,patient,Mass\n" + rows).path
    touch(tmp_path, *(f"{n}.png" for n in range(20)))
    where = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    for command in (("run", "prior", "--data", data, *where), ("data", "check", data)):
        said = cli(*command)
        assert said.code == (2 if command[0] == "run" else 1)
        assert "10 of 30 rows have no" in said.out + said.err
    said = cli("run", "prior", "--data", data, *where)
    assert "--max-bad 0.34" in said.err


@pytest.mark.parametrize(
    ("rows", "expected"),
    [("any", [[1, 1, 0], [0, 0, 1]]), ("majority", [[1, 0, 0], [0, 0, 1]]),
     ("all", [[0, 0, 0], [0, 0, 1]]), ("auto", [[1, 1, 0], [0, 0, 1]])],
)  # fmt: skip
def test_one_row_for_each_finding_and_reader(tmp_path, rows, expected):
    text = (
        "image_id,rad_id,class_name,x_min,patient\n"
        "a.png,R1,Mass,1,7\na.png,R1,Mass,5,7\na.png,R2,Mass,1,7\na.png,R2,Edema,1,7\n"
        "a.png,R3,No finding,,7\n"
        "b.png,R1,No finding,,8\nb.png,R2,No finding,,8\nb.png,R3,No finding,,8\n"
    )
    cohort = table(tmp_path, text, rows=rows, labels="Mass+Edema+No finding").load()
    assert cohort.label_names == ("Mass", "Edema", "No finding")
    assert cohort.no_finding == "No finding"
    assert cohort.labels.tolist() == expected
    assert "joined 8 rows to 2 images" in " ".join(cohort.notes)
    assert "disagree" in message(table(tmp_path, text, rows="agree"))


def test_readers_are_needed_to_count_them(tmp_path):
    text = "image,patient,findings\na.png,1,Mass\na.png,1,Edema\nb.png,2,Mass\n"
    assert "reader=COLUMN" in message(table(tmp_path, text, rows="majority"))
    assert table(tmp_path, text, rows="any").load().labels.tolist() == [[1, 1], [0, 1]]
    assert "rows=any" in message(table(tmp_path, text))


def test_the_label_for_no_finding_is_known_in_any_capitals_or_refused(tmp_path):
    text = "image,patient,findings\na.png,1,No finding\nb.png,2,Mass\n"
    assert table(tmp_path, text).load().no_finding == "No finding"
    assert table(tmp_path, text, no_finding="mass").load().no_finding == "Mass"
    assert "has no label 'Nofinding'" in message(table(tmp_path, text, no_finding="Nofinding"))
    assert table(tmp_path, "image,patient,Mass\na.png,1,1\n").load().no_finding is None


def test_a_column_that_is_only_called_like_findings_is_one_label(tmp_path):
    cohort = table(tmp_path, "image,patient,Finding\na.png,1,1\nb.png,2,0\n").load()
    assert (cohort.label_names, cohort.labels.tolist()) == (("Finding",), [[1], [0]])


def test_modality_and_part_of_the_body_leave_images_out(tmp_path):
    text = (
        "image,patient,modality,BodyPartExamined,Mass\n"
        "a.png,1,X-ray,CHEST,1\nb.png,2,CT,CHEST,0\nc.png,3,CR,ABDOMEN,0\n"
    )
    cohort = table(tmp_path, text).load()
    assert cohort.image_ids == ("a.png",)
    assert [one.reason for one in cohort.excluded] == [
        *("not a radiograph: CT", "not a chest radiograph: ABDOMEN"),
    ]


@pytest.mark.parametrize("word", ["", "nan", "NaN", "None", "null"])
def test_a_word_for_nothing_is_no_patient(tmp_path, word):
    text = f"image,patient,Mass\na.png,1,1\nb.png,{word},0\nc.png,{word},0\n"
    assert "Line 3" in message(table(tmp_path, text))
    faults = table(tmp_path, text).examine(SilentDisplay(), tmp_path).faults
    assert [fault.check for fault in faults] == ["unclear-patient"] * 2


def test_endless_cells_are_cut_whatever_they_are(tmp_path, cli):
    touch(tmp_path, *(f"{n}.png" for n in range(40)))
    cells = [f"{n % 4} {'7 9 ' * 2500}" for n in range(40)]
    rows = "".join(f"{n}.png,{n},{cell}\n" for n, cell in enumerate(cells))
    data = table(tmp_path, "image,patient,mask\n" + rows).path
    for options in ("findings=mask", "labels=mask", "patient=mask,labels=patient"):
        said = cli("data", "check", f"csv:path={data},{options}", "--no-images")
        assert len(said.out) < 20_000, options


# Several tables

STUDIES = "patient,study,Mass\np1,s1,1\np2,s2,0\np3,s3,1\n"
IMAGES = (
    "study,patient,image,ViewPosition,Device\n"
    "s1,p1,a.png,PA,x\ns1,p1,b.png,AP,y\ns2,p2,c.png,PA,z\n"
)


def joined(folder, studies: str, images: str, **options):
    touch(folder, "a.png", "b.png", "c.png")
    (folder / "studies.csv").write_text(studies)
    (folder / "images.csv").write_text(images)
    return CSV(path=str(folder / "studies.csv"), also="images.csv", **options)


def test_labels_of_a_study_hold_for_each_of_its_images(tmp_path):
    cohort = joined(tmp_path, STUDIES, IMAGES).load()
    assert cohort.image_ids == ("a.png", "b.png", "c.png")
    assert cohort.patient_ids == ("p1", "p1", "p2")
    assert cohort.views == ("PA", "AP", "PA")
    assert cohort.label_names == ("Mass",), "only the first table has labels"
    assert cohort.labels.tolist() == [[1], [1], [0]]
    assert "studies.csv: 1 rows without a partner in images.csv are left out" in cohort.notes


def test_the_table_of_images_may_come_first(tmp_path):
    cohort = joined(tmp_path, STUDIES, IMAGES).load()
    other = CSV(path=str(tmp_path / "images.csv"), also="studies.csv", labels="Mass").load()
    assert other.image_ids == cohort.image_ids
    assert other.labels.tolist() == cohort.labels.tolist()
    assert "studies.csv: 1 rows without a partner in images.csv are left out" in other.notes


@pytest.mark.parametrize(
    ("studies", "images", "problem"),
    [
        (STUDIES, "image,view\na.png,PA\n", "have no column in common"),
        (STUDIES, IMAGES.replace("s1", "s8").replace("s2", "s9"), "has a partner"),
        (STUDIES + "p1,s1,1\n", IMAGES, "both repeat the same study and patient"),
        (STUDIES.replace("patient,study", "study,study"), IMAGES, "two columns for 'study'"),
    ],
)
def test_tables_that_do_not_belong_together(tmp_path, studies, images, problem):
    with pytest.raises(DataError, match=problem):
        joined(tmp_path, studies, images).load()


def test_a_check_names_the_faults_of_both_tables(tmp_path):
    dataset = joined(tmp_path, STUDIES + "cut off\n", IMAGES + "cut off\n")
    found = [fault.found for fault in dataset.examine(SilentDisplay(), tmp_path).faults]
    assert [text.splitlines()[0] for text in found if "does not fit" in text] == [
        f"Line 5 of {tmp_path / 'images.csv'} does not fit the header",
        f"Line 5 of {tmp_path / 'studies.csv'} does not fit the header",
    ]
