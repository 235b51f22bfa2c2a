"""Official parts that leak, splits that cannot be made, labels too rare to count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_parts import Drawn

from cxrbench.checks.tables import check_official, check_split, try_split
from cxrbench.errors import DataError, PluginError
from cxrbench.interfaces import Cohort
from cxrbench.metrics.patients import counted_labels
from cxrbench.settings import Settings


@dataclass(frozen=True)
class Published(Drawn):
    """A dataset whose official parts are given, or that has none that can be used."""

    parts: tuple[str, ...] = ()

    def official_parts(self, cohort: Cohort, folder: Path | None):
        if not self.parts:
            raise DataError("the lists are broken")
        return self.parts


def test_a_patient_on_both_sides_is_named(cohort_of):
    cohort = cohort_of([[0, 0, 0, 1]] * 5, patients=["a", "a", "b", "b", "c"])
    parts = ("train_val", "test", "train", "train_val", "")
    (found,) = check_official(Published(parts=parts), cohort, Settings())
    assert found.check == "official-parts-share-patients"
    (item,) = found.items
    assert item.image_ids == ("i0", "i1")
    assert item.detail == "patient a: test and train_val"


def test_parts_that_share_nobody_and_datasets_without_parts(cohort_of):
    cohort = cohort_of([[0, 0, 0, 1]] * 2)
    assert check_official(Published(parts=("test", "train")), cohort, Settings()) == ()
    assert check_official(Drawn(), cohort, Settings()) == ()


def test_parts_that_do_not_fit_the_cohort_are_the_plugins_fault(cohort_of):
    with pytest.raises(PluginError, match="broken official split"):
        check_official(Published(parts=("test",)), cohort_of([[0, 0, 0, 1]] * 2), Settings())


def test_lists_that_cannot_be_used_are_only_worth_knowing(cohort_of):
    (found,) = check_official(Published(), cohort_of([[0, 0, 0, 1]]), Settings())
    assert (found.check, found.severity) == ("no-official-split", "info")
    assert found.items[0].detail == "the lists are broken"


def test_the_split_that_was_asked_for_and_cannot_be_made_is_an_error(cohort_of):
    cohort = cohort_of([[0, 0, 0, 1]] * 4)
    split, (found,) = try_split(cohort, Published(), Settings(split="official"))
    assert split is None
    assert (found.check, found.severity) == ("unusable-split", "error")


def test_labels_too_rare_are_those_that_do_not_count_on_a_board():
    dataset = Drawn(patients=30)
    cohort = dataset.load()
    split, findings = try_split(cohort, dataset, Settings())
    assert findings == ()
    rows = split.rows("test")
    counted = counted_labels(cohort.labels[rows], [cohort.patient_ids[row] for row in rows])
    assert not counted.all()
    (found,) = check_split(cohort, split)
    named = {item.detail.partition(":")[0] for item in found.items}
    assert named == {n for n, c in zip(cohort.label_names, counted, strict=True) if not c}


def test_where_patients_are_unknown_images_are_too_rare(cohort_of):
    labels = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    cohort = cohort_of(labels, patients=("i0", "i1", "i2"), patients_known=False)
    dataset = Published(parts=("train", "val", "test"))
    split, findings = try_split(cohort, dataset, Settings(split="official"))
    assert ["no label with both classes" in f.items[0].detail for f in findings] == [True]
    (found,) = check_split(cohort, split)
    assert found.items[-1].detail == "No Finding: 1 test images with it, 0 without it"


def test_a_validation_split_that_a_run_cannot_use_is_an_error(cohort_of):
    labels = [[0, 0, 0, 0]] * 24
    labels[3] = [0, 0, 1, 0]
    split, (found,) = try_split(cohort_of(labels), Drawn(), Settings())
    assert split is not None
    assert (found.check, found.severity) == ("unusable-split", "error")
    assert "the validation split has no label with both classes" in found.items[0].detail


def test_a_patient_with_most_of_the_images_is_a_warning(cohort_of):
    patients = ["giant"] * 200 + [f"p{n}" for n in range(40)]
    cohort = cohort_of([[0, 0, 1, 0], [0, 1, 0, 0]] * 120, patients=patients)
    split, _ = try_split(cohort, Drawn(), Settings())
    found = {one.check: one for one in check_split(cohort, split)}["dominant-patient"]
    assert (found.severity, len(found.items)) == ("warning", 1)
    assert "patient giant has 200 of 240 images" in found.items[0].detail
