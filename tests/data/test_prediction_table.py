"""Tables of predictions by anybody: how labels and images are found, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.prediction_table import read_predictions_table
from cxrbench.errors import DataError

LABELS = ("Mass", "Pleural_Thickening", "No Finding")


def table(folder: Path, header: str, *rows: str) -> Path:
    path = folder / "predictions.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "header",
    [
        "image,Mass,Pleural_Thickening,No Finding",
        "Image Index,prob_Mass,prob_Pleural Thickening,prob_No_Finding",
        "path,y_score_Mass,y_score_Pleural_Thickening,y_score_No Finding",
        "filename,P(mass),p(pleural-thickening),p(no finding)",
        "id,no finding,pleural thickening,MASS",
    ],
)
def test_labels_are_found_by_name_with_any_prefix(tmp_path, header):
    found = read_predictions_table(table(tmp_path, header, "a.png,0.1,0.2,0.3"), LABELS)
    assert found.label_names == LABELS
    expected = [0.3, 0.2, 0.1] if header.startswith("id") else [0.1, 0.2, 0.3]
    assert found.y_score.tolist() == [expected]


def test_columns_that_tables_of_images_have_are_no_labels(tmp_path):
    path = table(
        tmp_path,
        "image,patient,age,sex,split,y_true_Mass,y_score_Mass,y_pred_Mass,error",
        "a,7,50,F,test,1,0.25,0,",
    )
    found = read_predictions_table(path, LABELS)
    assert (found.label_names, found.y_score.tolist()) == (("Mass",), [[0.25]])
    other = read_predictions_table(path, LABELS, prefix="y_pred_")
    assert other.y_score.tolist() == [[0.0]]


def test_a_missing_label_is_left_out_and_an_unknown_one_refused(tmp_path):
    path = table(tmp_path, "image,prob_Mass,prob_Nodul", "a,0.1,0.2")
    with pytest.raises(DataError, match=r"unknown labels: 'prob_Nodul'"):
        read_predictions_table(path, (*LABELS, "Nodule"))
    ignored = read_predictions_table(path, LABELS, ignore=["prob_nodul"])
    assert ignored.label_names == ("Mass",)
    plain = table(tmp_path, "image,Mass,Massive", "a,0.1,0.2")
    with pytest.raises(DataError, match="unknown labels: 'Massive'"):
        read_predictions_table(plain, LABELS)


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        ("Mass,No Finding", "0.1,0.2", "no column 'image'"),
        ("image,score", "a,0.2", "no column for any label"),
        ("image,Mass,mass", "a,0.2,0.3", "two columns for 'Mass'"),
        ("image,mine_Mass,yours_Mass", "a,0.2,0.3", "several columns for each label"),
        ("image,Mass", "a,1.5", "1 of 1 are not"),
        ("image,Mass", "a,-0.1", "1 of 1 are not"),
        ("image,Mass", "a,nan", "'nan' for 'Mass' in line 2"),
        ("image,Mass", "a,", "'' for 'Mass' in line 2"),
        ("image,Mass", "a,high", "'high' for 'Mass' in line 2"),
        ("image,Mass", "a,inf", "not probabilities"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_message(tmp_path, header, row, told):
    with pytest.raises(DataError) as raised:
        read_predictions_table(table(tmp_path, header, row), LABELS)
    assert told in str(raised.value)


def test_a_table_without_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="no rows"):
        read_predictions_table(table(tmp_path, "image,Mass"), LABELS)


def test_images_are_found_by_id_file_name_or_path(tmp_path):
    path = table(tmp_path, "image,Mass", "x/b.jpg,0.1", "a,0.2", "c.png,0.3", "one/d.png,0.4")
    found = read_predictions_table(path, LABELS)
    rows = found.rows_for(["a", "b", "c.png", "one/d.png"], "test")
    assert found.y_score[rows, 0].tolist() == [0.2, 0.1, 0.3, 0.4]


def test_images_of_the_same_name_have_to_be_told_in_full(tmp_path):
    ids = ["one/a.png", "two/a.png"]
    full = table(tmp_path, "image,Mass", "two/a.png,0.1", "one/a.png,0.2")
    rows = read_predictions_table(full, LABELS).rows_for(ids, "test")
    assert rows.tolist() == [1, 0]
    short = table(tmp_path, "image,Mass", "a.png,0.1", "one/a.png,0.2")
    with pytest.raises(DataError, match="does not cover"):
        read_predictions_table(short, LABELS).rows_for(ids, "test")


def test_missing_doubled_and_foreign_images_are_counted_and_named(tmp_path):
    path = table(tmp_path, "image,Mass", "a,0.1", "a.png,0.1", "z,0.5", "b,0.2")
    found = read_predictions_table(path, LABELS)
    with pytest.raises(DataError) as raised:
        found.rows_for(["a", "b", "c", "d"], "test")
    told = str(raised.value)
    assert "1 there twice ('a')" in told
    assert "1 not among the test images ('z')" in told
    assert "2 missing ('c', 'd')" in told
    with pytest.raises(DataError, match="there twice"):
        found.known_in(["a", "b", "z"])


def test_many_rows_keep_their_places(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"{number:05}" for number in range(2_000)]
    scores = rng.random(2_000)
    order = rng.permutation(2_000)
    path = table(
        tmp_path, "image,Mass", *(f"{ids[i]}.png,{float(scores[i])!r}" for i in order.tolist())
    )
    found = read_predictions_table(path, LABELS)
    np.testing.assert_array_equal(found.y_score[found.rows_for(ids, "test"), 0], scores)


def test_names_that_predict_wrote_as_text_are_read_back(tmp_path):
    from cxrbench.output.sections import as_csv_cell

    names = ["=a.png", "-b.png", "'=c.png", "d.png"]
    rows = [f"{as_csv_cell(name)},0.1,0.2,0.3" for name in names]
    assert rows[0].startswith("'=")
    path = table(tmp_path, "image,Mass,Pleural_Thickening,No Finding", *rows)
    assert read_predictions_table(path, LABELS).rows_for(names, "test").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (",image,Mass", "0,a.png,0.5"),
        ("Unnamed: 0,image,Mass", "0,a.png,0.5"),
        ("Unnamed: 0.1,Unnamed: 0,image,Mass", "0,0,a.png,0.5"),
        ("image,Mass,", "a.png,0.5,0.9"),
        ("ImageID,Mass,modality,PatientID", "a.png,0.5,CR,7"),
        ("dicom_id,Mass", "a.png,0.5"),
    ],
)
def test_an_index_and_columns_without_a_heading_are_no_labels(tmp_path, header, row):
    found = read_predictions_table(table(tmp_path, header, row), LABELS)
    assert (found.names, found.label_names, found.y_score.tolist()) == (
        *(("a.png",), ("Mass",), [[0.5]]),
    )


@pytest.mark.parametrize("root", ["", "other/", "/mnt/nas/x/", "C:\\data\\"])
def test_paths_of_another_machine_are_told_apart_by_their_last_folders(tmp_path, root):
    ids = [f"set/p{n}/s1/view.jpg" for n in (1, 2)]
    rows = [f"{root}p{n}/s1/view.jpg,0.{n}" for n in (1, 2)]
    rows = [row.replace("/", "\\") if "\\" in root else row for row in rows]
    found = read_predictions_table(table(tmp_path, "path,Mass", *reversed(rows)), LABELS)
    assert found.rows_for(ids, "test").tolist() == [1, 0]


def test_an_image_of_another_patient_is_not_meant(tmp_path):
    ids = [f"set/p{n}/s1/view.jpg" for n in (1, 2)]
    path = table(tmp_path, "path,Mass", "p1/s1/view.jpg,0.1", "p3/s1/view.jpg,0.2")
    with pytest.raises(DataError, match="1 not among the test images"):
        read_predictions_table(path, LABELS).rows_for(ids, "test")


def test_any_unicode_form_of_a_name_and_long_names_are_cut(tmp_path):
    composed, parts = "M\u00fc.png", "Mu\u0308.png"
    found = read_predictions_table(table(tmp_path, "image,Mass", f"x/{parts},0.5"), LABELS)
    assert found.rows_for([composed], "test").tolist() == [0]
    path = table(tmp_path, "image,Mass," + "x" * 9000, "a.png,0.1,0.2")
    with pytest.raises(DataError) as error:
        read_predictions_table(path, LABELS)
    assert len(str(error.value)) < 1500
