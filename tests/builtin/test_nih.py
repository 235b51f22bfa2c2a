"""NIH's folder layouts: which are recognised, which image is used, and clear errors."""

from __future__ import annotations

import dataclasses
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nih_folders import ROWS, STEMS, folder, message, rows

from cxrbench import DataError
from cxrbench.builtin.nih import NIH, cxrbench_datasets
from cxrbench.data.cohort import validate


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


def test_importing_the_module_imports_nothing_heavy():
    code = (
        "import sys, cxrbench.builtin.nih\n"
        "print(sorted({'numpy', 'pandas', 'csv', 'difflib'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
