"""The reader of tables: what people's files look like, what comes out, and clear errors."""

from __future__ import annotations

import csv
import gzip
import io
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrbench import CxrbenchError, DataError, LabelOptions, find_file, read_table, read_text
from cxrbench.data.record_cells import age_of

WANTED = {"image": ("image", "Path"), "patient": ("patient", "Patient ID"), "age": ("age",)}
TEXT = "Path,Patient ID,age,note\nbär.png,1,58,x\n b.png ,2,058Y,\n"


def write(tmp_path, data: str | bytes, name: str = "t.csv"):
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def message(path) -> str:
    with pytest.raises(DataError) as error:
        read_table(path).columns(WANTED, required=("image",))
    return str(error.value)


FORMS = {
    "UTF-8": TEXT.encode(),
    "byte order mark": TEXT.encode("utf-8-sig"),
    "Latin-1": TEXT.encode("latin-1"),
    "UTF-16, little end first": b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "UTF-16, big end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "CRLF": TEXT.replace("\n", "\r\n").encode(),
    "CR": TEXT.replace("\n", "\r").encode(),
    "semicolons": TEXT.replace(",", ";").encode(),
    "tabs": TEXT.replace(",", "\t").encode(),
    "commas in a quoted title": TEXT.replace(",", ";").replace("note", '"n,o,t,e,s"').encode(),
    "more cells that are blank": TEXT.replace("\n", ",,\n").encode(),
    "blank rows": TEXT.replace("\n", "\n\n , \n").encode(),
    "quotes": TEXT.replace("bär.png", '"bär.png"').encode(),
    "no line end": TEXT.rstrip("\n").encode(),
    "two lines in a cell": TEXT.replace(",x", ',"x\ny"').encode(),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_one_table_in_many_forms(tmp_path, data, packed):
    path = write(tmp_path, gzip.compress(data) if packed else data, "t.csv" + ".gz" * packed)
    columns = read_table(path).columns(WANTED)
    assert columns.cells["image"] == ["bär.png", "b.png"]
    assert columns.cells["patient"] == ["1", "2"]
    assert columns.titles == {"image": "Path", "patient": "Patient ID", "age": "age"}
    assert columns.ages()[0].tolist() == [58, 58]
    assert len(columns.notes) == (data == FORMS["Latin-1"])


def test_lines_are_those_of_the_file(tmp_path):
    path = write(tmp_path, 'image,note\na,"1\n2\n3"\n\nb,\n')
    assert read_table(path).columns(WANTED).lines == [4, 6]


def test_a_column_that_is_not_there_is_unknown_throughout(tmp_path):
    columns = read_table(write(tmp_path, "image\na\nb\n")).columns(WANTED)
    ages, notes = columns.ages()
    assert np.isnan(ages).all()
    assert (columns.sexes(), columns.views()) == ((("", ""), ()), (("", ""), ()))
    assert notes == ()


def test_the_first_name_that_is_there_counts(tmp_path):
    path = write(tmp_path, "PATH,Image\na,b\n")
    assert read_table(path).columns(WANTED).cells == {"image": ["b"]}


def test_sexes_and_views_are_coded_and_what_is_none_is_noted(tmp_path):
    path = write(tmp_path, "image,sex,view\na,Female,pa\nb,m,AP\nc,?,LL\n")
    columns = read_table(path).columns({"sex": ("sex",), "view": ("view",)})
    assert columns.sexes() == (("F", "M", ""), ("took 1 sexes as unknown ('?')",))
    assert columns.views() == (("PA", "AP", ""), ("took 1 views as unknown ('LL')",))


@pytest.mark.parametrize(
    ("text", "years"), [("58", 58), ("006M", 0.5), ("121", None), ("", None), ("²", None)]
)
def test_an_age(text, years):
    assert age_of(text) == years


BAD = {
    "empty": (b"", "is empty"),
    "blank": (b"\n \n", "is empty"),
    "header alone": (b"image,age\n", "a header but no rows"),
    "no such column": (b"img,age\na,1\n", "has no column 'image'"),
    "a name twice": (b"image,Image\na,b\n", "two columns for 'image'"),
    "a cell too few": (b"image,age\na\n", "Line 2"),
    "a cell too many": (b"image,age\na,1,2\n", "got: 3 cells: a, 1, 2"),
    "open quotes": (b'image,age\n"a,1\n', "no table at line 2"),
    "text behind quotes": (b'image,age\n"a"b,1\n', "no table at line 2"),
    "a huge cell": (b"image,age\n" + b"a" * 200_000 + b",1\n", "field larger than field limit"),
    "a NUL byte": (b"image,age\na\0,1\n", "byte 11 is 0x00"),
    "UTF-16 without a mark": ("image,age\na,1\n".encode("utf-16-le"), "not a text file"),
    "half a UTF-16": ("image,age\na,1\n".encode("utf-16")[:-1], "not a text file"),
    "NUL in UTF-16": ("image,age\na\0,1\n".encode("utf-16"), "not a text file"),
    "a spreadsheet": (b"PK\x03\x04\x14\0", "saved as .xlsx"),
}


@pytest.mark.parametrize(("data", "told"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_explained(tmp_path, data, told):
    text = message(write(tmp_path, data))
    assert told in text
    assert all(part in text for part in ("expected:", "got:", "to do:"))
    assert len(text) < 1500


def test_files_that_cannot_be_read_are_explained(tmp_path):
    assert "cannot be read" in message(tmp_path / "nothing.csv")
    assert "cannot be read" in message(tmp_path)
    assert "cannot be read" in message(write(tmp_path, TEXT, "t.csv.gz"))
    os.mkfifo(tmp_path / "pipe.csv")
    assert "not a file" in message(tmp_path / "pipe.csv")


def test_a_blank_cell_is_refused_where_one_is_needed(tmp_path):
    columns = read_table(write(tmp_path, "image,age\na,1\n ,2\n,3\n")).columns(WANTED)
    with pytest.raises(DataError, match=r"Line 3 .* has no image") as error:
        columns.require("image")
    assert "2 rows without" in str(error.value)


def test_rows_that_repeat(tmp_path):
    path = write(tmp_path, "image,labels,note\na,X|Y,1\nb,X,\na,Y|X,2\n")
    columns = read_table(path).columns({"image": ("image",), "labels": ("labels",)})
    kept = columns.without_repeats(columns.cells["image"], ("labels",))
    assert kept.cells["image"] == ["a", "b"]
    assert kept.lines == [2, 3]
    assert kept.notes == ("t.csv: dropped 1 rows that repeat another row",)
    with pytest.raises(DataError, match=r"'X\|Y' in line 2, 'Y\|X' in line 4"):
        columns.without_repeats(columns.cells["image"], ("labels",), separator=";")


def test_rows_as_wide_as_they_are(tmp_path):
    table = read_table(write(tmp_path, "a,b,,\n1\n1,2,3\n"), fit=False)
    assert table.header == ("a", "b")
    assert list(table.rows) == [(2, ["1"]), (3, ["1", "2", "3"])]


def test_a_text_and_a_file_by_name(tmp_path):
    path = write(tmp_path, gzip.compress("ä\r\n".encode()), "list.txt.gz")
    assert find_file(tmp_path, ("other.txt", "list.txt")) == path
    assert find_file(tmp_path, ("other.txt",)) is None
    assert read_text(path) == ("ä\r\n", ())


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6),
    separator=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_is_written_is_read_and_as_pandas_reads_it(
    tmp_path_factory, rows, separator, encoding
):
    rows = [["a", *row] for row in rows]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator)
    writer.writerows([["k", "x", "y", "z"], *rows])
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    found = [cells for _, cells in read_table(path).rows]
    assert found == rows
    frame = pd.read_csv(path, sep=separator, encoding=encoding, dtype=str, keep_default_na=False)
    assert frame.to_numpy().tolist() == rows


PIECES = st.sampled_from(
    [
        *(b"image", b"patient", b"age", b"1", b"058Y", b" ", b"|", b"\xe4", "ä".encode()),
        *(b",", b";", b"\t", b'"', b"\n", b"\r", b"\0"),
        *(b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b\x08"),
    ]
)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=40).map(b"".join)),
    head=st.sampled_from([b"", b"image,age\n"]),
    name=st.sampled_from(["t.csv", "t.csv.gz"]),
    packed=st.booleans(),
)
def test_any_bytes_give_columns_or_an_error_of_ours(tmp_path, data, head, name, packed):
    path = write(tmp_path, gzip.compress(head + data) if packed else head + data, name)
    try:
        columns = read_table(path).columns(WANTED, required=("image",))
        ages, _ = columns.ages()
        columns.without_repeats(columns.require("image"), tuple(columns.cells))
    except CxrbenchError:
        return
    assert len(columns) == len(columns.cells["image"]) == len(ages) > 0
    assert not (ages > 120).any()


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image,Mass,", "a,1,"),
        ("image,Mass,", "a,1,moved here"),
        ("image,Mass,,", "a,1,,moved here"),
        (",image,Mass", "moved here,a,1"),
        ("image,,Mass", "a,moved here,1"),
        ("Unnamed: 0,image,Mass", "0,a,1"),
    ],
)
def test_columns_without_a_heading_are_ignored_wherever_they_stand(tmp_path, header, row):
    path = write(tmp_path, f"{header}\n{row}\n{row.replace('a', 'b').replace('1', '0')}\n")
    wanted = {"image": ("image",), "label": ("Mass",)}
    columns = read_table(path).columns(wanted)
    assert columns.cells == {"image": ["a", "b"], "label": ["1", "0"]}
    labels = LabelOptions()
    table = read_table(path)
    assert labels.columns(table, ("image",)) == {"label:Mass": ("Mass",)}


def test_a_cell_beyond_all_headings_is_still_refused(tmp_path):
    with pytest.raises(DataError, match="Line 2"):
        read_table(write(tmp_path, "image,Mass,\na,1,,x\n")).columns({"image": ("image",)})


def test_rows_that_do_not_fit_can_be_collected(tmp_path):
    misfits: list[DataError] = []
    path = write(tmp_path, "image,Mass\na,1\nb\nc,1,2\nd,0\n")
    columns = read_table(path, misfits=misfits).columns({"image": ("image",)})
    assert columns.cells["image"] == ["a", "d"]
    assert [error.problem.split(" of ")[0] for error in misfits] == ["Line 3", "Line 4"]


def test_long_cells_are_cut_in_messages(tmp_path):
    rows = "".join(f"a,{letter * 10_000}\n" for letter in "xy")
    columns = read_table(write(tmp_path, "image,mask\n" + rows)).columns(
        {"image": ("image",), "mask": ("mask",)}
    )
    with pytest.raises(DataError) as error:
        columns.without_repeats(["a", "a"], ["mask"])
    assert len(str(error.value)) < 1500
