"""NIH's folder layouts, its tables in every shape found in the wild, and clear errors."""

from __future__ import annotations

import dataclasses
import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cxrbench import DataError
from cxrbench.builtin.nih import NIH, cxrbench_datasets
from cxrbench.data.cohort import validate
from cxrbench.data.splits import make_split, split_by_patient

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143",
    "00000002_000.png,No Finding,0,2,80,F,AP,2500,2048,0.171,0.171",
    "00000013_005.png,Hernia|Infiltration,5,13,60,F,AP,3056,2544,0.139,0.139",
)
STEMS = ("00000001_000", "00000001_001", "00000002_000", "00000013_005")


def folder(
    root: Path,
    table: str | bytes | None = None,
    *,
    name: str = "Ground_Truth.csv",
    images: str = "xray_images",
    files: tuple[str, ...] = tuple(f"{stem}.png" for stem in STEMS),
) -> Path:
    """A small NIH folder; images are empty, for no pixel is read."""
    table = "\n".join((HEADER, *ROWS)) + "\n" if table is None else table
    data = table.encode() if isinstance(table, str) else table
    (root / name).write_bytes(data)
    (root / images).mkdir(parents=True, exist_ok=True)
    for file in files:
        (root / images / file).touch()
    return root


def rows(*lines: str, header: str = HEADER) -> str:
    return "\n".join((header, *lines)) + "\n"


def message(root: Path) -> str:
    with pytest.raises(DataError) as error:
        NIH(path=str(root)).load()
    return str(error.value)


def test_a_small_folder_gives_its_cohort(tmp_path):
    cohort = NIH(path=str(folder(tmp_path))).load()

    validate(cohort)
    assert cohort.name == "nih"
    assert cohort.image_ids == STEMS
    assert cohort.patient_ids == ("1", "1", "2", "13")
    assert len(cohort.label_names) == 15
    assert cohort.label_names[-1] == cohort.no_finding == "No Finding"
    found = [
        {name for name, value in zip(cohort.label_names, row, strict=True) if value}
        for row in cohort.labels
    ]
    assert found == [
        {"Cardiomegaly"},
        {"Cardiomegaly", "Emphysema"},
        {"No Finding"},
        {"Hernia", "Infiltration"},
    ]
    assert cohort.ages.tolist() == [57, 58, 80, 60]
    assert cohort.sexes == ("M", "M", "F", "F")
    assert cohort.views == ("PA", "PA", "AP", "AP")
    assert cohort.sources[3] == str(tmp_path / "xray_images" / "00000013_005.png")
    assert cohort.excluded == cohort.notes == cohort.boxes == ()


def test_the_module_registers_one_dataset():
    assert cxrbench_datasets() == [NIH]
    assert dataclasses.is_dataclass(NIH)
    assert "ChestX-ray8" in NIH.citation


@pytest.mark.parametrize(
    "images", ["xray_images", "images", "images_001/images", "images_012", "."]
)
def test_each_layout_is_found(tmp_path, images):
    cohort = NIH(path=str(folder(tmp_path, images=images))).load()

    assert [Path(source).parent for source in cohort.sources] == [tmp_path / images] * 4


def test_images_spread_over_nihs_archives_are_joined(tmp_path):
    folder(tmp_path, images="images_001/images", files=("00000001_000.png", "00000001_001.png"))
    folder(tmp_path, images="images_002/images", files=("00000002_000.png", "00000013_005.png"))

    assert NIH(path=str(tmp_path)).load().image_ids == STEMS


def test_an_empty_images_folder_does_not_hide_the_real_one(tmp_path):
    folder(tmp_path, images="images_001/images")
    (tmp_path / "images").mkdir()

    assert len(NIH(path=str(tmp_path)).load()) == 4


@pytest.mark.parametrize("extension", ["jpg", "JPG", "jpeg", "PNG"])
def test_extensions_may_differ_from_the_table(tmp_path, extension):
    files = tuple(f"{stem}.{extension}" for stem in STEMS)

    assert NIH(path=str(folder(tmp_path, files=files))).load().image_ids == STEMS


@pytest.mark.parametrize(
    "name",
    ["Ground_Truth.csv", "Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv", "Ground_Truth.csv.gz"],
)
def test_each_table_name_is_recognised(tmp_path, name):
    table = rows(*ROWS).encode()
    folder(tmp_path, gzip.compress(table) if name.endswith(".gz") else table, name=name)

    dataset = NIH.recognise(tmp_path)

    assert dataset == NIH(path=str(tmp_path))
    assert len(dataset.load()) == 4


def test_other_folders_and_files_are_not_recognised(tmp_path):
    assert NIH.recognise(tmp_path) is None
    assert NIH.recognise(tmp_path / "nothing") is None
    (tmp_path / "Ground_Truth.csv").touch()
    assert NIH.recognise(tmp_path / "Ground_Truth.csv") is None


def test_with_two_tables_the_notes_say_which_was_used(tmp_path):
    folder(tmp_path, name="Data_Entry_2017.csv")
    folder(tmp_path)

    notes = NIH(path=str(tmp_path)).load().notes
    assert notes == ("used Ground_Truth.csv, not Data_Entry_2017.csv",)


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


def test_rows_and_images_without_each_other_are_excluded_and_counted(tmp_path):
    files = ("00000001_000.png", "00000002_000.jpg", "00000099_000.png", ".00000013_005.png")
    cohort = NIH(path=str(folder(tmp_path, files=files))).load()

    validate(cohort)
    assert cohort.image_ids == ("00000001_000", "00000002_000")
    assert cohort.ages.tolist() == [57, 80]
    assert [(item.image_id, item.reason) for item in cohort.excluded] == [
        ("00000001_001", "the table has a row, but there is no image file"),
        ("00000013_005", "the table has a row, but there is no image file"),
        ("00000099_000", "there is an image file, but no row"),
    ]
    assert cohort.notes == (
        "excluded 2 of 4 rows without a usable image file",
        "excluded 1 image files without a row",
    )


def test_of_two_files_the_one_that_the_table_names_is_used(tmp_path):
    files = tuple(f"{stem}.{end}" for stem in STEMS for end in ("jpg", "png"))
    cohort = NIH(path=str(folder(tmp_path, files=files))).load()

    assert [Path(source).suffix for source in cohort.sources] == [".png"] * 4
    assert "00000001_000.jpg" in cohort.excluded[0].reason


def test_of_two_files_that_the_table_does_not_name_none_is_used(tmp_path):
    files = ("00000001_000.jpg", "00000001_000.jpeg", *(f"{stem}.jpg" for stem in STEMS[1:]))
    cohort = NIH(path=str(folder(tmp_path, files=files))).load()

    assert cohort.image_ids == STEMS[1:]
    assert "does not say which" in cohort.excluded[0].reason


def test_a_link_that_leads_nowhere_is_no_image(tmp_path):
    folder(tmp_path, files=tuple(f"{stem}.png" for stem in STEMS[:3]))
    (tmp_path / "xray_images" / "00000013_005.png").symlink_to(tmp_path / "gone.png")

    assert NIH(path=str(tmp_path)).load().image_ids == STEMS[:3]


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


def test_paths_that_cannot_work_are_explained(tmp_path):
    with pytest.raises(DataError, match="needs the path of its folder") as error:
        NIH().load()
    assert "--data nih:path=DIR" in str(error.value)
    assert "nothing there" in message(tmp_path / "missing")
    (tmp_path / "file").touch()
    assert "a file" in message(tmp_path / "file")
    (tmp_path / "labels.csv").touch()
    text = message(tmp_path)
    assert "Ground_Truth.csv" in text
    assert "labels.csv" in text


def test_a_folder_without_images_is_explained(tmp_path):
    text = message(folder(tmp_path, files=()))

    assert "has no images" in text
    assert "xray_images" in text


def test_images_that_are_not_in_the_table_are_explained(tmp_path):
    text = message(folder(tmp_path, files=("a.png", "b.png")))

    assert "00000001_000.png" in text
    assert "2 images, such as a, b" in text


def test_a_table_that_cannot_be_opened_is_explained(tmp_path):
    (tmp_path / "Ground_Truth.csv").mkdir()
    text = message(tmp_path)

    assert "cannot be read" in text
    assert "chmod" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permissions_are_explained(tmp_path):
    folder(tmp_path)
    (tmp_path / "Ground_Truth.csv").chmod(0)
    assert "PermissionError" in message(tmp_path)
    (tmp_path / "Ground_Truth.csv").chmod(0o600)
    (tmp_path / "xray_images").chmod(0)
    assert "cannot be listed" in message(tmp_path)
    tmp_path.chmod(0)
    assert NIH.recognise(tmp_path) is None
    assert "no permission" in message(tmp_path)
    tmp_path.chmod(0o700)


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


def lists(where: Path, train_val: tuple[str, ...], test: tuple[str, ...], packed: bool = False):
    for name, stems in (("train_val_list.txt", train_val), ("test_list.txt", test)):
        data = "".join(f"{stem}.png\r\n" for stem in stems).encode()
        path = where / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("packed", [False, True])
def test_official_parts_are_read_beside_the_table_and_elsewhere(tmp_path, packed):
    folder(tmp_path, files=tuple(f"{stem}.jpg" for stem in STEMS))
    dataset = NIH(path=str(tmp_path))
    cohort = dataset.load()
    lists(tmp_path, STEMS[:2], STEMS[2:3], packed)

    beside = dataset.official_parts(cohort, None)

    assert beside == ("train_val", "train_val", "test", "")
    assert NIH().official_parts(cohort, tmp_path) == beside


def test_official_lists_that_cannot_be_used_are_explained(tmp_path):
    folder(tmp_path)
    dataset = NIH(path=str(tmp_path))
    cohort = dataset.load()
    (tmp_path / "lists").mkdir()

    def text() -> str:
        with pytest.raises(DataError) as error:
            dataset.official_parts(cohort, tmp_path / "lists")
        return str(error.value)

    assert "--split official:DIR" in text()
    lists(tmp_path / "lists", STEMS[:3], STEMS[2:])
    assert "1 images in both, such as 00000002_000" in text()
    lists(tmp_path / "lists", STEMS[:3], ())
    assert "test_list.txt is empty" in text()
    lists(tmp_path / "lists", ("a",), ("b",))
    assert "none of the cohort's images" in text()
    (tmp_path / "lists" / "test_list.txt").unlink()
    assert "has no test_list.txt" in text()


def test_importing_the_module_imports_nothing_heavy():
    code = (
        "import sys, cxrbench.builtin.nih\n"
        "print(sorted({'numpy', 'pandas', 'csv', 'difflib'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


REAL = os.environ.get("CXRBENCH_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
def test_the_real_sample_and_its_official_split():
    root = Path(REAL or "")
    dataset = NIH.recognise(root / "nih-mini")
    assert dataset is not None
    cohort = dataset.load()
    validate(cohort)

    assert (len(cohort), len(set(cohort.patient_ids)), len(cohort.boxes)) == (640, 480, 302)
    assert cohort.excluded == cohort.notes == ()
    split = make_split(cohort, dataset, f"official:{root / 'nih-metadata'}")
    published = dataset.official_parts(cohort, root / "nih-metadata")
    assert [part == "test" for part in split.parts] == [part == "test" for part in published]
    assert {box.image_id for box in cohort.boxes} <= {
        cohort.image_ids[row] for row in split.rows("test")
    }


@pytest.mark.slow
def test_a_table_of_nihs_size_loads_and_splits_in_five_seconds(tmp_path):
    """112,120 images of 30,805 patients; the files are empty, for no pixel is read."""
    names = [f"{row % 30_805 + 1:08d}_{row // 30_805:03d}.png" for row in range(112_120)]
    findings = ("No Finding", "Mass|Nodule", "Edema", "Infiltration|Atelectasis|Effusion", "Mass")
    lines = [
        f"{name},{findings[row % 5]},0,{int(name[:8])},57,M,PA,2682,2749,0.143,0.143"
        for row, name in enumerate(names)
    ]
    dataset = NIH(path=str(folder(tmp_path, rows(*lines), files=tuple(names))))

    start = time.process_time()  # one thread's work, however busy the machine is
    cohort = dataset.load()
    split = split_by_patient(cohort)
    seconds = time.process_time() - start

    assert len(cohort) == 112_120
    assert len(split.rows("test")) == pytest.approx(0.2 * 112_120, rel=0.01)
    assert seconds < 5
