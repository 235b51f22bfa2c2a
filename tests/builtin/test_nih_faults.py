"""All faults of NIH's table at once, where loading stops at the first of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cxrbench import DataError, Examination, Fault
from cxrbench.builtin.nih import NIH
from cxrbench.data.cohort import validate
from cxrbench.data.datasets import examine
from cxrbench.output.display import SilentDisplay

HEADER = "Image Index,Finding Labels,Patient ID,Patient Age"
SOUND = (
    "00000001_000.png,Mass,1,50",
    "00000002_000.png,No Finding,2,51",
    "00000003_000.png,Hernia|Mass,3,52",
)
BAD = {
    "unknown-label": ("00000004_000.png,Efusion,4,50",),
    "no-finding-and-finding": ("00000004_000.png,No Finding|Mass,4,50",),
    "unclear-patient": ("00000004_000.png,Mass,,50",),
    "contradicting-rows": ("00000004_000.png,Mass,4,50", "00000004_000.png,Edema,4,50"),
}


def folder(root: Path, *rows: str, without: tuple[str, ...] = ()) -> NIH:
    (root / "Ground_Truth.csv").write_text("\n".join((HEADER, *rows)) + "\n")
    (root / "images").mkdir()
    for row in rows:
        name = row.partition(",")[0]
        if name not in without:
            (root / "images" / name).touch()
    return NIH(path=str(root))


def examined_in(dataset: NIH) -> Examination:
    return examine(dataset, SilentDisplay(), Path())


def test_a_sound_folder_is_examined_as_it_is_loaded(tmp_path):
    dataset = folder(tmp_path, *SOUND)
    examined, loaded = examined_in(dataset), dataset.load()
    assert (examined.faults, examined.has_images) == ((), True)
    for field in dataclasses.fields(loaded):
        one, other = (getattr(cohort, field.name) for cohort in (examined.cohort, loaded))
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("check", BAD)
def test_what_load_refuses_is_a_fault_and_the_other_rows_are_there(tmp_path, check):
    dataset = folder(tmp_path, *SOUND, *BAD[check])
    with pytest.raises(DataError):
        dataset.load()
    examined = examined_in(dataset)
    (fault,) = examined.faults
    assert (fault.check, fault.image_id) == (check, "00000004_000")
    validate(examined.cohort)
    assert examined.cohort.patient_ids == ("1", "2", "3")
    assert examined.cohort.excluded == ()  # the bad row's image is not one without a row


def test_one_patient_under_two_ids_is_one_fault(tmp_path):
    rows = ("00000004_000.png,Mass,4,50", "00000004_001.png,Mass,9,50")
    dataset = folder(tmp_path, *SOUND, *rows)
    with pytest.raises(DataError, match="one NIH patient two ids"):
        dataset.load()
    (fault,) = examined_in(dataset).faults
    assert fault.check == "unclear-patient"
    assert "Patient ID 4 and 9" in fault.found
    assert len(examined_in(dataset).cohort) == 3


def test_all_faults_are_told_together(tmp_path):
    rows = [row.replace("00000004", f"0000001{n}") for n, (row, *_) in enumerate(BAD.values())]
    dataset = folder(tmp_path, *SOUND, *rows[:3])
    assert {fault.check for fault in examined_in(dataset).faults} == set(list(BAD)[:3])


def test_ages_that_cannot_be_are_told_and_their_rows_stay(tmp_path):
    rows = ("00000004_000.png,Mass,4,414", "00000005_000.png,Mass,5,old")
    examined = examined_in(folder(tmp_path, *SOUND, *rows))
    assert [(f.check, f.image_id) for f in examined.faults] == [
        ("impossible-age", "00000004_000"),
        ("impossible-age", "00000005_000"),
    ]
    assert np.isnan(examined.cohort.ages).tolist() == [False] * 3 + [True] * 2


def test_a_table_without_images_has_all_its_rows(tmp_path):
    names = tuple(row.partition(",")[0] for row in SOUND)
    examined = examined_in(folder(tmp_path, *SOUND, without=names))
    assert not examined.has_images
    assert [fault.check for fault in examined.faults] == ["no-images"]
    validate(examined.cohort)
    assert len(examined.cohort) == 3


def test_a_bad_list_of_boxes_is_a_fault(tmp_path):
    dataset = folder(tmp_path, *SOUND)
    (tmp_path / "BBox_List_2017.csv").write_text("h,l,x,y,w,h\n00000001_000.png,Mass,a,b,c,d\n")
    (fault,) = examined_in(dataset).faults
    assert isinstance(fault, Fault)
    assert fault.check == "unusable-boxes"


def test_where_no_row_is_sound_the_first_fault_is_raised(tmp_path):
    with pytest.raises(DataError, match="not one of NIH's"):
        examined_in(folder(tmp_path, "00000004_000.png,Efusion,4,50"))
