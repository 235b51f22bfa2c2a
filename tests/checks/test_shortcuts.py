"""What files tell of labels: found where it is planted, and not found where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Recorder

from cxrbench.checks.images import File, ImageScan
from cxrbench.checks.shortcuts import check_shortcuts, find_shortcuts

SICK = np.random.default_rng(3).random(200) < 0.4


def films_of(kinds, sizes) -> ImageScan:
    count = len(kinds)
    files = tuple(
        File(str(at), None, kind, 1024, 1024, int(size), False)
        for at, (kind, size) in enumerate(zip(kinds, sizes, strict=True))
    )
    none = np.zeros(count, np.float32)
    return ImageScan(np.arange(count), files, np.ones(count, bool), *[none] * 5)


def probed(cohort, films):
    return {found.features: found for found in find_shortcuts(cohort, films, Recorder())}


@pytest.fixture
def cohort(cohort_of):
    labels = np.column_stack([SICK, ~SICK]).astype(float)
    return cohort_of(labels, sources=tuple(f"a/i{row}.png" for row in range(len(SICK))))


def test_a_file_type_that_goes_with_a_label(cohort):
    kinds = np.where(SICK ^ (np.arange(200) % 10 == 0), "PNG L", "JPEG L")
    found = probed(cohort, films_of(kinds, [5] * 200))
    assert found["file type"].macro == pytest.approx(0.9, abs=0.03)
    assert found["file type"].per_label.keys() == {"Nodule", "No Finding"}
    assert found["folder"].macro == 0.5  # all in one
    (told,) = check_shortcuts(tuple(found.values()))
    named = [item.detail.partition(":")[0] for item in told.items]
    assert named == ["file type", "all of these"]


def test_file_sizes_and_folders(cohort_of):
    labels = np.column_stack([SICK, ~SICK]).astype(float)
    sources = tuple(f"{'ward' if sick else 'clinic'}/i.png" for sick in SICK)
    sizes = 1000 + 500 * SICK
    found = probed(cohort_of(labels, sources=sources), films_of(["PNG L"] * 200, sizes))
    assert found["folder"].macro == 1
    assert found["file size"].macro == 1
    assert found["dimensions"].macro == 0.5


def test_files_that_have_nothing_to_do_with_labels(cohort):
    rng = np.random.default_rng(0)
    kinds = rng.choice(["PNG L", "JPEG L"], 200)
    found = probed(cohort, films_of(kinds, rng.integers(1000, 2000, 200)))
    assert abs(found["all of these"].macro - 0.5) < 0.1
    assert check_shortcuts(tuple(found.values())) == ()


def test_patients_and_not_images_are_held_out(cohort_of):
    """Each patient has a file size of its own: it tells the label only of patients seen before."""
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 5)
    sick = (rng.random(60) < 0.5)[patients]
    cohort = cohort_of(
        np.column_stack([sick, ~sick]).astype(float), patients=[f"p{p}" for p in patients]
    )
    kinds = [f"KIND{patient}" for patient in patients % 30]
    found = probed(cohort, films_of(kinds, [5] * 300))
    assert found["file type"].macro < 0.7


def test_age_sex_and_view_are_measured_and_no_fault_of_the_files(cohort_of):
    ages = np.where(SICK, 70, 30).astype(np.float32)
    ages[::9] = np.nan
    cohort = cohort_of(np.column_stack([SICK, ~SICK]).astype(float), ages=ages)
    found = probed(cohort, films_of(["PNG L"] * 200, [5] * 200))
    assert found["age, sex and view"].macro > 0.9
    assert check_shortcuts(tuple(found.values())) == ()


def test_too_few_patients_give_no_score(cohort_of):
    cohort = cohort_of([[1, 0], [0, 1], [1, 0]])
    found = probed(cohort, films_of(["PNG L"] * 3, [5] * 3))
    assert {shortcut.macro for shortcut in found.values()} == {None}
    assert check_shortcuts(tuple(found.values())) == ()


def test_large_cohorts_are_probed_on_whole_patients(cohort, monkeypatch):
    monkeypatch.setattr("cxrbench.checks.shortcuts.MOST_IMAGES", 150)
    kinds = np.where(SICK, "PNG L", "JPEG L")
    assert probed(cohort, films_of(kinds, [5] * 200))["file type"].macro == 1
