"""NIH's tables in every shape found in the wild, its boxes, and clear errors."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from nih_folders import ROWS, STEMS, folder, message, rows

from cxrbench.builtin.nih import NIH
from cxrbench.data.cohort import validate

SHAPES = {
    "byte order mark": lambda table: b"\xef\xbb\xbf" + table.encode(),
    "CRLF": lambda table: table.replace("\n", "\r\n").encode(),
    "old Mac line ends": lambda table: table.replace("\n", "\r").encode(),
    "semicolons": lambda table: table.replace(",", ";").encode(),
    "tabs": lambda table: table.replace(",", "\t").encode(),
    "UTF-16": lambda table: table.encode("utf-16"),
    "2017 edition, comma at the end": lambda table: table.replace("\n", ",\n").encode(),
    "quotes": lambda table: (
        table.replace("Cardiomegaly|Emphysema", '"Cardiomegaly|Emphysema"')
        .replace("No Finding", '"No Finding"')
        .encode()
    ),
    "blank lines": lambda table: table.replace("\n", "\n\n").encode() + b",,,,,,,,,,\n\n",
    "blanks around cells": lambda table: table.replace(",", " , ").replace("|", " | ").encode(),
    "no line end": lambda table: table.rstrip("\n").encode(),
    "header in capitals": lambda table: table.replace("Image Index", "IMAGE INDEX").encode(),
    "Patient Sex": lambda table: table.replace("Patient Gender", "Patient Sex").encode(),
    "ages of the 2017 edition": lambda t: (
        t.replace(",57,", ",057Y,").replace(",80", ",080Y").encode()
    ),
    "zeros before patients": lambda table: table.replace(",13,", ",00013,").encode(),
    "patients as decimals": lambda table: table.replace(",13,", ",13.0,").encode(),
    "folders in names": lambda table: table.replace(
        "0000000", "images_001/images/0000000"
    ).encode(),
    "labels in another order": lambda table: table.replace(
        "Hernia|Infiltration", "Infiltration|Hernia"
    ).encode(),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_same_table_in_other_shapes_gives_the_same_cohort(tmp_path, shape):
    (tmp_path / "usual").mkdir()
    (tmp_path / "odd").mkdir()
    usual = NIH(path=str(folder(tmp_path / "usual"))).load()
    odd = NIH(path=str(folder(tmp_path / "odd", shape(rows(*ROWS))))).load()

    for field in ("image_ids", "patient_ids", "sexes", "views", "notes", "excluded"):
        assert getattr(odd, field) == getattr(usual, field)
    np.testing.assert_array_equal(odd.labels, usual.labels)
    np.testing.assert_array_equal(odd.ages, usual.ages)


def test_latin_1_is_read_and_noted(tmp_path):
    table = rows(*ROWS).replace("Follow-up #", "Läufer").encode("latin-1")

    notes = NIH(path=str(folder(tmp_path, table))).load().notes
    assert len(notes) == 1
    assert "Latin-1" in notes[0]


def test_only_image_and_labels_are_needed_when_names_are_nihs(tmp_path):
    table = rows(
        *(",".join(line.split(",")[:2]) for line in ROWS), header="Image Index,Finding Labels"
    )

    cohort = NIH(path=str(folder(tmp_path, table))).load()

    validate(cohort)
    assert cohort.patient_ids == ("1", "1", "2", "13")
    assert np.isnan(cohort.ages).all()
    assert set(cohort.sexes) == set(cohort.views) == {""}


@pytest.mark.parametrize(
    ("text", "years"),
    [("58", 58), ("058Y", 58), ("006M", 0.5), ("073D", 0.19986), ("52w", 0.99658), ("0", 0)],
)
def test_ages_in_years_months_weeks_and_days(tmp_path, text, years):
    table = rows(ROWS[0].replace(",57,", f",{text},"))

    assert NIH(path=str(folder(tmp_path, table))).load().ages == pytest.approx([years], abs=1e-4)


def test_impossible_and_unreadable_cells_become_unknown_and_are_counted(tmp_path):
    table = rows(
        ROWS[0].replace(",57,", ",414,"),
        ROWS[1].replace(",58,", ",old,"),
        ROWS[2].replace(",80,F,AP", ",,X,LL"),
        ROWS[3],
    )

    cohort = NIH(path=str(folder(tmp_path, table))).load()

    validate(cohort)
    assert np.isnan(cohort.ages).tolist() == [True, True, True, False]
    assert cohort.notes == (
        "took 1 ages above 120 years as unknown ('414')",
        "took 1 ages that cannot be read as unknown ('old')",
        "took 1 sexes as unknown ('X')",
        "took 1 views as unknown ('LL')",
    )


def test_rows_that_repeat_are_dropped_and_counted(tmp_path):
    again = ROWS[1].replace("Cardiomegaly|Emphysema", "Emphysema|Cardiomegaly")
    cohort = NIH(path=str(folder(tmp_path, rows(*ROWS, ROWS[0], again)))).load()

    assert cohort.image_ids == STEMS
    assert cohort.notes == ("Ground_Truth.csv: dropped 2 rows that repeat another row",)


BAD = {
    "empty": (b"", ("is empty", "0 characters")),
    "blank": (b"\n\n  \n", ("is empty",)),
    "header only": (rows(), ("header but no rows", "Finding Labels", "0 rows")),
    "no image column": (
        rows(*ROWS).replace("Image Index", "image_idx"),
        ("no column 'Image Index'", "'image_idx', 'Finding Labels'"),
    ),
    "no label column": (
        rows(*ROWS).replace("Finding Labels", "Finding Label"),
        ("no column 'Finding Labels'", "is it 'Finding Label'?"),
    ),
    "column twice": (
        rows(*ROWS).replace("Follow-up #", "Patient ID"),
        ("two columns for 'Patient ID'",),
    ),
    "misspelt label": (
        rows(*ROWS).replace("|Emphysema", "|Emphysemia"),
        ("Line 3", "'Emphysemia'", "did you mean 'Emphysema'?"),
    ),
    "label in small letters": (
        rows(*ROWS).replace("Cardiomegaly,", "cardiomegaly,"),
        ("Line 2", "did you mean 'Cardiomegaly'?"),
    ),
    "label of nothing like": (rows(*ROWS).replace("Hernia|", "42|"), ("Line 5", "'42'")),
    "blank label": (rows(*ROWS).replace("No Finding", ""), ("Line 4", "''")),
    "no finding and a finding": (
        rows(*ROWS).replace("No Finding", "No Finding|Mass"),
        ("Line 4", "contradicts itself", "'No Finding|Mass'"),
    ),
    "rows that disagree on labels": (
        rows(*ROWS, ROWS[0].replace("Cardiomegaly", "Edema")),
        ("00000001_000", "'Cardiomegaly' in line 2", "'Edema' in line 6"),
    ),
    "rows that disagree on the patient": (
        rows(*ROWS, ROWS[3].replace(",13,", ",14,")),
        ("00000013_005", "Patient ID '13' in line 5", "'14' in line 6"),
    ),
    "one NIH patient, two ids": (
        rows(ROWS[0], ROWS[1].replace(",1,1,58", ",1,7,58")),
        ("one NIH patient two ids", "00000001_001.png", "line 3"),
    ),
    "no patient": (rows(ROWS[0], ROWS[2].replace(",0,2,", ",0,,")), ("Line 3", "no Patient ID")),
    "no image name": (rows(ROWS[0], ROWS[2].replace("00000002_000.png", "")), ("no Image Index",)),
    "cut off": (rows(*ROWS)[:-60], ("Line 5", "does not fit the header", "11 cells")),
    "a cell too many": (
        rows(*ROWS).replace("Hernia|", "Hernia,"),
        ("Line 5", "does not fit the header", "12 cells"),
    ),
    "open quotes": (rows(*ROWS).replace("No Finding", '"No Finding'), ("no CSV file",)),
    "binary": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ("not a text file", "PNG")),
    "a spreadsheet": (b"PK\x03\x04\x14\0\x06\0", ("not a text file", ".xlsx")),
    "UTF-16 cut off": (rows(*ROWS).encode("utf-16")[:-1], ("not a text file",)),
    "no patients and other names": (
        "Image Index,Finding Labels\n00000001_000.png,Mass\nscan7.png,Edema\n",
        ("the patient of each image", "'scan7.png' in line 3", "leak"),
    ),
}


@pytest.mark.parametrize(("table", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_explained(tmp_path, table, words):
    text = message(folder(tmp_path, table, files=(*(f"{s}.png" for s in STEMS), "scan7.png")))

    assert all(part in text for part in ("expected:", "got:", "to do:"))
    for word in words:
        assert word in text


def test_a_table_that_cannot_be_opened_is_explained(tmp_path):
    (tmp_path / "Ground_Truth.csv").mkdir()
    text = message(tmp_path)

    assert "cannot be read" in text
    assert "chmod" in text


@pytest.mark.parametrize("cut", [10, -20])
def test_a_damaged_gzip_is_explained(tmp_path, cut):
    packed = gzip.compress(rows(*ROWS).encode())
    assert "damaged" in message(folder(tmp_path, packed[:cut], name="Ground_Truth.csv.gz"))


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cxrbench.data.files.MAX_BYTES", 1000)
    packed = gzip.compress(b"0" * 100_000)

    assert "too large" in message(folder(tmp_path, packed, name="Ground_Truth.csv.gz"))


BOXES = (
    "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    "00000013_005.png,Infiltrate,225.08,547.02,86.78,79.19\n"
    "00000044_000.png,Mass,1,2,3,4\n"
    "00000001_000.png,Cardiomegaly,100,200,300,400,,,\n"
)


def test_boxes_are_read_from_the_broken_header_on(tmp_path):
    (tmp_path / "BBox_List_2017.csv").write_text(BOXES)
    cohort = NIH(path=str(folder(tmp_path))).load()

    validate(cohort)
    first, second = cohort.boxes
    assert (first.image_id, first.label) == ("00000013_005", "Infiltration")
    assert (first.x, first.y, first.width, first.height) == (225.08, 547.02, 86.78, 79.19)
    assert (second.image_id, second.label, second.x) == ("00000001_000", "Cardiomegaly", 100)


@pytest.mark.parametrize(
    "row", ["00000001_000.png,Mass,1,2,3", "a,Tumor,1,2,3,4", "a,Mass,1,2,0,4", "a,Mass,nan,2,3,4"]
)
def test_a_bad_box_is_explained(tmp_path, row):
    (tmp_path / "BBox_List_2017.csv").write_text(BOXES + row)
    text = message(folder(tmp_path))

    assert "Line 5" in text
    assert row.split(",")[1] in text
