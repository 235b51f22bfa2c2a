"""What the table alone has wrong, in a cohort of whatever dataset."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cxrbench.checks.finding import CHECKS, Severity
from cxrbench.checks.report import Checkup
from cxrbench.checks.tables import check_faults, check_table, merged
from cxrbench.errors import PluginError
from cxrbench.interfaces import Exclusion, Fault

NAN = np.nan


def told(findings) -> dict[str, list[tuple[tuple[str, ...], str]]]:
    return {f.check: [(item.image_ids, item.detail) for item in f.items] for f in findings}


def test_nothing_is_found_in_a_sound_table(cohort_of):
    assert check_table(cohort_of([[1, 0, 0, 0], [0, 0, 0, 1]])) == ()


def test_unknown_patients_are_told(cohort_of):
    cohort = cohort_of([[1, 0, 0, 0]], patients=("i0",), patients_known=False)
    (found,) = check_table(cohort)
    assert (found.check, found.severity) == ("unknown-patients", Severity.warning)
    assert "Intervals are over images" in found.items[0].detail


def test_no_finding_beside_a_finding(cohort_of):
    cohort = cohort_of([[1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0]])
    assert told(check_table(cohort)) == {
        "no-finding-and-finding": [(("i0",), "Effusion, No Finding")]
    }


def test_without_a_no_finding_label_nothing_contradicts_and_no_label_is_an_answer(cohort_of):
    assert check_table(cohort_of([[1, 1], [0, 0]], no_finding=None)) == ()


def test_rows_that_say_nothing(cohort_of):
    cohort = cohort_of([[NAN] * 4, [0, 0, 0, 0], [0, NAN, 0, 0]])
    assert told(check_table(cohort)) == {
        "unlabelled": [(("i0",), "no label"), (("i1",), "no label")]
    }


def test_ages_that_nobody_reaches(cohort_of):
    ages = np.array([0, 120, 121, NAN], np.float32)
    cohort = cohort_of([[0, 0, 0, 1]] * 4, ages=ages)
    assert told(check_table(cohort)) == {"impossible-age": [(("i2",), "121 years")]}


def test_what_the_dataset_left_out_and_says(cohort_of):
    excluded = (Exclusion("x", "no image"), Exclusion("y", "no row"))
    cohort = cohort_of([[0, 0, 0, 1]], excluded=excluded, notes=("was drawn",))
    assert told(check_table(cohort)) == {
        "left-out": [(("x",), "no image"), (("y",), "no row")],
        "note": [((), "was drawn")],
    }


def test_faults_become_one_finding_for_each_check():
    faults = (Fault("unknown-label", "a", "'x'"), Fault("unknown-label", "b", "'y'"))
    (found,) = check_faults(faults)
    assert (found.check, found.severity) == ("unknown-label", Severity.error)
    assert found.summary == "labels outside the vocabulary: 2"
    assert told((found,)) == {"unknown-label": [(("a",), "'x'"), (("b",), "'y'")]}


def test_a_fault_of_an_unknown_check_is_the_plugins():
    with pytest.raises(PluginError, match="names the check 'odd'"):
        check_faults((Fault("odd", "a", "b"),))


def test_a_note_without_words_is_a_place_too(cohort_of):
    cohort = dataclasses.replace(cohort_of([[1, 0, 0, 0]]), notes=("", "two\nlines"))
    findings = check_table(cohort)
    checkup = Checkup("name", "", findings, None, (), None, "patient", 0, None)
    (notes, _) = checkup.sections()
    assert notes.notes == ("notes of the dataset [note]\n    \n    two",)


def test_findings_are_merged_by_check_and_errors_come_first(cohort_of):
    told_by_dataset = check_faults((Fault("no-finding-and-finding", "z", "'No Finding|Mass'"),))
    cohort = cohort_of([[1, 0, 0, 1]], notes=("was drawn",))
    found = merged([*check_table(cohort), *told_by_dataset])
    assert [f.check for f in found] == ["no-finding-and-finding", "note"]
    assert [item.image_ids for item in found[0].items] == [("i0",), ("z",)]


def test_every_check_has_a_title_and_says_what_to_do():
    for name, check in CHECKS.items():
        assert name == check.name
        assert check.title
        assert check.fix


def test_support_devices_beside_no_finding_are_the_labellers_rule(cohort_of):
    names = ("support devices", "Mass", "No Finding")
    cohort = cohort_of([[1, 0, 1], [1, 1, 1]], label_names=names)
    assert told(check_table(cohort)) == {
        "no-finding-and-finding": [(("i1",), "support devices, Mass, No Finding")]
    }


def test_patients_with_ids_that_are_alike_are_a_warning(cohort_of):
    cohort = cohort_of([[0, 0, 0, 1]] * 3, patients=("13", "00000013", "14"))
    (found,) = check_table(cohort)
    assert (found.check, found.severity) == ("similar-patients", Severity.warning)
    assert found.items[0].detail == "00000013 = 13"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Mass", "MASS", "x"), "'MASS' = 'Mass'"),
        (("Mass", "Mass; Edema", "x"), "'Mass; Edema' looks like several labels"),
        (("['Mass", "x", "y"), "looks like several labels"),
        (("Pleural_Thickening", "Pleural Thickening", "x"), "Pleural Thickening"),
    ],
)
def test_names_of_labels_that_a_wrong_separator_makes_are_a_warning(cohort_of, names, expected):
    cohort = cohort_of([[1, 0, 0]], label_names=names, no_finding=None)
    (found,) = check_table(cohort)
    assert (found.check, found.severity) == ("similar-labels", Severity.warning)
    assert expected in found.items[0].detail


def test_usual_names_of_labels_are_not(cohort_of):
    names = ("Nodule/Mass", "Other lesion", "COVID-19")
    assert check_table(cohort_of([[1, 0, 0]], label_names=names, no_finding=None)) == ()
