"""Findings in one cell: lists, separators and spellings; several rows joined by a rule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench import DataError
from cxrbench.data.finding_cells import join_labels, read_cells

NAN = float("nan")
FOUR = ["cardiomegaly", "effusion", "nodule", "pneumonia"]


def names(*cells: str, separator: str = "auto", chosen=()) -> list[list[str]]:
    found = read_cells(dict.fromkeys(cells, 1), separator, "what", chosen)
    return [sorted(found.names[cell]) for cell in cells]


@pytest.mark.parametrize(
    "cell",
    [
        "['pneumonia', 'nodule']",
        '["pneumonia", "nodule"]',
        "['pneumonia' 'nodule']",  # numpy
        "('pneumonia', 'nodule')",
        "{'pneumonia', 'nodule'}",
        "[pneumonia, nodule]",
        "['pneumonia', 'nodule', 'nodule', nan, '']",
        " [ 'pneumonia',\n 'nodule' ] ",
    ],
)
@pytest.mark.parametrize("separator", ["auto", "comma", "|"])
def test_list_text_is_a_list(cell, separator):
    assert names(cell, separator=separator) == [["nodule", "pneumonia"]]


@pytest.mark.parametrize("cell", ["[]", "['']", "[nan]", "[None]", "nan", "NA", "null", ""])
def test_nothing_is_no_name(cell):
    assert names(cell, "Mass") == [[], ["Mass"]]


def test_a_quote_or_a_bracket_in_a_name_is_a_part_of_it():
    assert names("""["Hodgkin's", 'b, c']""") == [["Hodgkin's", "b, c"]]
    assert names("Mass (left)|Nodule (right)") == [["Mass (left)", "Nodule (right)"]]
    assert names("(old) Mass (left)") == [["(old) Mass (left)"]]


def test_a_list_that_cannot_be_read_is_refused():
    with pytest.raises(DataError, match="looks like a list"):
        names("['Mass', Edema oedema 'x']")


@pytest.mark.parametrize("sign", ["|", ";", ",", "; ", " ,", "\n"])
def test_separators_are_recognised(sign):
    cells = [sign.join(pair) for pair in pairwise(FOUR)] + FOUR
    found = names(*cells)
    assert sorted({name for several in found for name in several}) == FOUR
    assert found[0] == ["cardiomegaly", "effusion"]


def test_a_separator_other_than_the_usual_is_noted():
    cells = dict.fromkeys(("a;b", "a", "b"), 1)
    assert read_cells(cells, "auto", "what").notes == (
        "what: labels are separated by ';' (separator= changes that)",
    )
    assert read_cells(dict.fromkeys(("a|b", "a"), 1), "auto", "what").notes == ()


def test_where_a_comma_may_be_a_part_of_a_name_the_user_has_to_say_so():
    with pytest.raises(DataError, match="separator=comma if it separates"):
        names("Effusion, left", "Mass")
    assert names("Effusion, left", "Mass", separator="|")[0] == ["Effusion, left"]
    assert names("Effusion, left", "Mass", separator="comma")[0] == ["Effusion", "left"]


def test_other_capitals_are_the_same_label_in_its_most_frequent_spelling():
    found = read_cells({"MASS": 1, "Mass|edema": 3, "mass  ": 2, "Edema": 3}, "auto", "what")
    assert set(map(tuple, map(sorted, found.names.values()))) == {
        ("Mass",),
        ("Edema", "Mass"),
        ("Edema",),
    }
    (note,) = found.notes
    assert "Edema = edema; Mass = mass = MASS" in note


def test_words_for_unlabelled_images_are_no_labels_unless_they_are_chosen():
    found = read_cells({"todo": 2, "Mass/Unknown": 1, "Mass": 1}, "/", "what")
    assert found.unlabelled == {"todo", "Mass/Unknown"}
    assert found.names["Mass/Unknown"] == {"Mass"}
    assert names("Unknown", "Mass", chosen=("unknown",)) == [["Unknown"], ["Mass"]]


def joined(frame: pd.DataFrame, rule: str, no_finding=None) -> np.ndarray:
    labels = [name for name in frame if name not in ("image", "reader")]
    return join_labels(
        frame[labels].to_numpy(np.float32),
        frame["image"].tolist(),
        frame["reader"].tolist() if "reader" in frame else None,
        rule,
        labels,
        no_finding,
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from([0.0, 1.0, NAN])),
        min_size=1,
        max_size=20,
    )
)
def test_rows_are_joined_as_pandas_counts_votes(rows):
    frame = pd.DataFrame(rows, columns=["image", "reader", "Mass"])
    votes = frame.groupby(["image", "reader"], sort=False)["Mass"].max()  # NaN only if all are
    by_image = votes.dropna().groupby("image")
    images = list(dict.fromkeys(frame["image"]))
    rules = {
        "any": by_image.max(),
        "all": by_image.min(),
        "majority": (by_image.mean() > 0.5).astype(float),
    }
    for rule, expected in rules.items():
        np.testing.assert_array_equal(
            joined(frame, rule)[:, 0], expected.reindex(images).to_numpy(np.float32)
        )


def test_no_finding_gives_way_to_a_disease_but_not_to_support_devices():
    frame = pd.DataFrame(
        {
            "image": list("aabb"),
            "No finding": [1, 0, 1, 0],
            "Mass": [0, 1, 0, 0],
            "Support Devices": [0, 0, 0, 1],
        }
    )
    np.testing.assert_array_equal(joined(frame, "any", "No finding"), [[0, 1, 0], [1, 0, 1]])
