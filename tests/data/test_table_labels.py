"""Labels of a table as any dataset can read them, and errors that keep cells to one part."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench import CxrbenchError, DataError, LabelOptions, read_table

NAN = float("nan")


def read(tmp_path, text: str, **options):
    """Labels as a plugin's dataset would read them."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    chosen = LabelOptions(**options)
    table, images = read_table(path), ("image", "file")
    columns = table.columns({"image": images} | chosen.columns(table, ("Image", *images)))
    return chosen.read(chosen.join_rows(columns, columns.require("image")))


def test_a_column_for_each(tmp_path):
    text = "image,Mass,Edema,Hernia\na,1,yes,\nb,0.0,-1,NA\nb,0.0,-1,NA\n"
    labels = read(tmp_path, text)
    assert labels.names == ("Mass", "Edema", "Hernia")
    np.testing.assert_array_equal(labels.values, np.float32([[1, 1, NAN], [0, NAN, NAN]]))
    assert labels.values.dtype == np.float32
    labels = read(tmp_path, text, labels="hernia + Edema", uncertain="zeros", blank="zeros")
    assert labels.names == ("Hernia", "Edema")
    np.testing.assert_array_equal(labels.values, [[0, 1], [0, 0]])
    assert labels.notes == labels.ignored == ()


def test_all_in_one_column(tmp_path):
    text = 'image,what,Finding Labels\na,1,"Mass, Edema"\nb,0,\na,1,"Edema,Mass"\n'
    labels = read(tmp_path, text, separator="comma")
    assert labels.names == ("Edema", "Mass")
    np.testing.assert_array_equal(labels.values, np.float32([[1, 1], [NAN, NAN]]))
    labels = read(tmp_path, text, separator="comma", labels="Mass", blank="zeros")
    np.testing.assert_array_equal(labels.values, [[1], [0]])
    assert labels.ignored == ("Edema",)
    assert labels.notes == ("Finding Labels: 1 names in 1 rows are not labels",)
    assert read(tmp_path, text, labels="what").names == ("what",)  # a column, after all


def test_an_empty_separator_is_refused():
    with pytest.raises(CxrbenchError, match="separator is empty"):
        LabelOptions(separator="")


# Whatever begins with "secret" is a cell, or would be one if the table had a header.
BAD = {
    "no header": ("secret.png,1\nsecret2.png,0\n", {"labels": "Mas"}),
    "like a name": ("image,secretMass\na,1\n", {"labels": "Mass"}),
    "a header alone": ("image,secret\n", {}),
    "two columns": ("image,Mass,mass,secret\na,1,1,1\n", {"labels": "Mass"}),
    "too many cells": ("image,Mass\nsecret.png,1,secret\n", {}),
    "too few cells": ("image,Mass,secret\nsecret.png,1\n", {}),
    "no label": ("image,Mass\nsecret.png,secret\n", {}),
    "no names": ("image,findings\nsecret.png,secret\n", {"labels": "Mass"}),
    "rows that disagree": ("image,Mass\nsecret.png,1\nsecret.png,0\n", {}),
    "no labels": ("image\nsecret.png\n", {}),
    "no image": ("image,Mass,secret\nsecret.png,1,1\n,0,1\n", {"labels": "Mass"}),
    "an open quote": ('image,Mass\nsecret.png,"secret\n', {}),
    "no text": ("secret\0,Mass\n", {}),
}


@pytest.mark.parametrize(("text", "options"), BAD.values(), ids=BAD.keys())
def test_what_a_file_holds_is_quoted_by_one_part_of_an_error_alone(tmp_path, text, options):
    with pytest.raises(DataError) as error:
        read(tmp_path, text, **options)
    told = error.value
    assert str(tmp_path / "t.csv") in told.problem
    assert "secret" not in f"{told.problem} {told.expected} {told.fix}"


@pytest.mark.parametrize("name", ["no header", "too few cells", "no label", "rows that disagree"])
def test_that_part_helps_where_nothing_is_secret(tmp_path, name):
    text, options = BAD[name]
    with pytest.raises(DataError, match=r"got: .*secret"):
        read(tmp_path, text, **options)


@pytest.mark.parametrize(
    ("present", "absent"),
    [("Y", "N"), ("Positive", "negative"), ("Present", "ABSENT"), ("1,0", "0,0"), ("1.0", "None")],
)
def test_words_and_numbers_as_people_and_spreadsheets_write_them(tmp_path, present, absent):
    path = tmp_path / "t.csv"
    path.write_text(f"sep=;\nindex;level_0;image;Mass;Edema\n0;7;a.png;{present};{absent}\n")
    table = read_table(path)
    labels = LabelOptions(blank="zeros").read(
        table.columns(LabelOptions().columns(table, ["image"]))
    )
    assert labels.names == ("Mass", "Edema")
    assert labels.values.tolist() == [[1, 0]]
