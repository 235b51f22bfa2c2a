"""A cohort's contract, its fingerprint, the key of a board, and rows taken from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from cxrbench.data.cohort import board_key, fingerprint, require_files, take, validate
from cxrbench.errors import DataError, PluginError
from cxrbench.interfaces import Box, Cohort, Exclusion

NAN = float("nan")


def cohort(**changes: object) -> Cohort:
    base = Cohort(
        name="made",
        label_names=("Mass", "No Finding"),
        image_ids=("b", "a", "c"),
        patient_ids=("1", "1", "2"),
        labels=np.array([[1, 0], [0, 1], [NAN, 0]], dtype=np.float32),
        ages=np.array([50, NAN, 3], dtype=np.float32),
        sexes=("F", "F", ""),
        views=("PA", "", "AP"),
        sources=("b.png", "a.png", "c.png"),
        boxes=(Box("b", "Mass", 1, 2, 3, 4), Box("c", "Mass", 0, 0, 9, 9)),
        excluded=(Exclusion("d", "no file"),),
        notes=("one",),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def reordered(rows: list[int]) -> Cohort:
    return take(cohort(), np.array(rows))


def test_a_good_cohort_passes():
    validate(cohort())
    validate(cohort(label_names=("Mass", "Edema"), no_finding=None))


def test_a_cohort_may_say_that_its_patients_are_unknown():
    unknown = cohort(patients_known=False, patient_ids=("b", "a", "c"))
    validate(unknown)
    alone = cohort(patient_ids=("b", "a", "c"))
    assert fingerprint(unknown, "xyz") != fingerprint(alone, "xyz")
    told = (unknown.label_names, unknown.image_ids, unknown.patient_ids, unknown.labels)
    assert board_key(*told, patients_known=False) != board_key(*told)
    with pytest.raises(PluginError, match="patient_ids"):
        validate(cohort(patients_known=False))


BAD = {
    "patients_known": [None, "no"],
    "name": [""],
    "label_names": [["Mass", "No Finding"], (), ("Mass", "Mass"), ("Mass", "")],
    "image_ids": [("a", "a", "b"), (), ("a", "", "b"), (1, 2, 3), np.array(["a", "b", "c"])],
    "patient_ids": [("1", "1"), ("1", "1", ""), (1, 1, 2)],
    "labels": [
        np.zeros((3, 3), np.float32),
        np.zeros((3, 2)),
        [[1, 0]] * 3,
        np.full((3, 2), 0.5, np.float32),
        np.full((3, 2), -1, np.float32),
        np.full((3, 2), np.inf, np.float32),
    ],
    "ages": [np.zeros(2, np.float32), np.full(3, -1, np.float32), np.full(3, np.inf, np.float32)],
    "sexes": [("F", "M"), ("female", "", ""), (None, "F", "M")],
    "views": [("PA", "AP", "LL")],
    "sources": [("a.png",), ("a.png", "b.png", "")],
    "no_finding": ["Normal"],
    "boxes": [
        (("a", "Mass", 1, 2, 3, 4),),
        (Box("z", "Mass", 1, 2, 3, 4),),
        (Box("a", "Nodule", 1, 2, 3, 4),),
        (Box("a", "Mass", 1, 2, 0, 4),),
        (Box("a", "Mass", NAN, 2, 3, 4),),
    ],
    "excluded": [("d",)],
    "notes": ["one"],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in BAD.items() for v in values])
def test_a_broken_field_is_named_with_its_dataset(field, value):
    broken = cohort(**{field: value})
    # Fewer image ids make the other columns too long; the first field that disagrees is named.
    with pytest.raises(PluginError) as error:
        validate(broken)
    text = str(error.value)
    assert field in text.splitlines()[0]
    assert "dataset" in text
    if field != "name":
        assert "'made'" in text
    assert all(part in text for part in ("expected:", "got:", "to do:"))


def test_the_image_and_the_label_are_named():
    labels = cohort().labels.copy()
    labels[2, 1] = 2
    with pytest.raises(PluginError, match=r"2\.0 for No Finding of image 'c' \(row 2\)"):
        validate(cohort(labels=labels))


def test_something_else_than_a_cohort_is_refused():
    with pytest.raises(PluginError, match="got: dict"):
        validate({"image_ids": ()})  # type: ignore[arg-type]


DIGESTS = ("hash of b", "hash of a", "hash of c")


def test_the_fingerprint_ignores_order_and_place():
    one = fingerprint(cohort(), DIGESTS)
    moved = cohort(sources=("x", "y", "z"), notes=(), excluded=(), boxes=())

    assert len(one) == 64
    assert fingerprint(moved, DIGESTS) == one
    assert fingerprint(reordered([2, 0, 1]), [DIGESTS[row] for row in (2, 0, 1)]) == one


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"label_names": ("Edema", "No Finding")},
        {"image_ids": ("b", "a", "d")},
        {"patient_ids": ("1", "3", "2")},
        {"labels": np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32)},
        {"ages": np.array([50, 0, 3], dtype=np.float32)},
        {"sexes": ("F", "M", "")},
        {"views": ("PA", "PA", "AP")},
        {"no_finding": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_fingerprint_changes_with_everything_that_counts(changes):
    assert fingerprint(cohort(**changes), DIGESTS) != fingerprint(cohort(), DIGESTS)


def test_the_fingerprint_changes_with_the_images():
    assert fingerprint(cohort(), ("x", *DIGESTS[1:])) != fingerprint(cohort(), DIGESTS)
    with pytest.raises(ValueError, match="3 images, but 2 digests"):
        fingerprint(cohort(), DIGESTS[:2])


def test_nan_has_one_meaning_whatever_its_bits():
    other_nan = np.array([0x7FC00001], dtype=np.uint32).view(np.float32)[0]
    ages = np.array([50, other_nan, 3], dtype=np.float32)

    assert fingerprint(cohort(ages=ages), DIGESTS) == fingerprint(cohort(), DIGESTS)


def key(of: Cohort, dtype: type = np.float32) -> str:
    return board_key(of.label_names, of.image_ids, of.patient_ids, of.labels.astype(dtype))


def test_the_board_key_is_what_its_definition_says():
    text = '["board",["Mass","No Finding"],[["a","b","c"],["1","1","2"]]]'
    expected = hashlib.sha256(text.encode() + bytes([0, 1, 1, 0, 2, 0])).hexdigest()

    assert json.loads(text)
    assert key(cohort()) == expected


def test_the_board_key_ignores_order_and_dtype_and_what_is_no_part_of_it():
    assert key(reordered([2, 1, 0])) == key(cohort())
    assert key(cohort(), np.float64) == key(cohort())
    assert key(cohort(name="x", ages=np.zeros(3, np.float32))) == key(cohort())
    known = cohort(labels=np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32))
    assert key(known, np.int64) == key(known, bool) == key(known) != key(cohort())


@pytest.mark.parametrize(
    "changes",
    [
        {"label_names": ("No Finding", "Mass")},
        {"image_ids": ("b", "a", "d")},
        {"patient_ids": ("1", "3", "2")},
        {"labels": np.zeros((3, 2), np.float32)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_board_key_changes_with_its_parts(changes):
    assert key(cohort(**changes)) != key(cohort())


def test_a_board_cannot_be_confused_by_where_texts_end():
    y_true = np.zeros((2, 1))
    assert board_key(("L",), ("a", "bc"), ("1", "2"), y_true) != board_key(
        ("L",), ("ab", "c"), ("1", "2"), y_true
    )


def test_a_board_with_wrong_input_is_refused():
    with pytest.raises(DataError, match="'a' 2 times"):
        board_key(("L",), ("a", "a"), ("1", "1"), np.zeros((2, 1)))
    with pytest.raises(DataError, match=r"got: 0\.5"):
        board_key(("L",), ("a", "b"), ("1", "1"), np.array([[0.5], [1]]))
    with pytest.raises(ValueError, match="y_true"):
        board_key(("L",), ("a", "b"), ("1", "1"), np.zeros((3, 1)))


def test_rows_are_taken_in_the_order_asked_for():
    part = take(cohort(), np.array([2, 1]))

    validate(part)
    assert part.image_ids == ("c", "a")
    assert part.patient_ids == ("2", "1")
    assert part.sexes == ("", "F")
    assert part.views == ("AP", "")
    assert part.sources == ("c.png", "a.png")
    np.testing.assert_array_equal(part.labels, cohort().labels[[2, 1]])
    np.testing.assert_array_equal(part.ages, cohort().ages[[2, 1]])
    assert [box.image_id for box in part.boxes] == ["c"]
    assert (part.excluded, part.notes) == (cohort().excluded, cohort().notes)


def test_rows_are_taken_by_a_mask():
    assert take(cohort(), np.array([True, False, True])).image_ids == ("b", "c")


@pytest.mark.parametrize(("absent", "stops"), [(0, False), (1, False), (2, True), (99, True)])
def test_rows_without_a_file_count_for_max_bad(cohort_of, absent, stops):
    excluded = (Exclusion("x", "no file"), Exclusion("y", "a lateral view"))
    cohort = cohort_of([[0, 0, 0, 1]] * 99, excluded=excluded, absent=absent)
    if not stops:
        require_files(cohort, 0.01)
        return
    with pytest.raises(DataError, match=f"{absent} of {99 + absent} rows have no image") as error:
        require_files(cohort, 0.01)
    require_files(cohort, float(str(error.value.fix).rpartition("--max-bad ")[2].split()[0]))
