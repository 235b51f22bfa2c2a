"""Files that a table names with other roots, separators, capitals, forms and folders."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from cxrbench.data.image_paths import NO_FILE, image_id, locate


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def located(root: Path, *texts: str) -> list[str]:
    return [str(Path(path).relative_to(root)) if path else "" for path in locate(root, texts).paths]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.png", "b.png"),
        ("images/a.png", "images/b.png"),
        ("CheXpert-v1.0/images/a.png", "CheXpert-v1.0/images/b.png"),
        ("/mnt/nas/cxr/images/a.png", "/mnt/nas/cxr/images/b.png"),
        (r"C:\Users\me\images\a.png", r"C:\Users\me\images\b.png"),
        (r"\\server\share\a.png", r"\\server\share\b.png"),
        ("IMAGES/A.PNG", "IMAGES/B.PNG"),
        ("a.jpg", "b.jpeg"),
        ("/one/root/a.png", "/another/b.png"),
    ],
)
def test_the_images_are_in_the_folder_images(tmp_path, first, second):
    touch(tmp_path, "images/a.png", "images/b.png")
    assert located(tmp_path, first, second) == ["images/a.png", "images/b.png"]


def test_a_path_that_exists_is_used_whatever_else_there_is(tmp_path):
    touch(tmp_path, "a.png", "images/a.png", "more/a.png")
    found = locate(tmp_path, ["a.png"])
    assert (found.paths, found.notes) == ((str(tmp_path / "a.png"),), ())


def test_names_in_several_folders_at_any_depth(tmp_path):
    touch(tmp_path, "images_001/images/a.png", "images_002/images/b.png", "x/y/z/c.png")
    assert located(tmp_path, "a.png", "b.png", "c.png", "d.png") == [
        *("images_001/images/a.png", "images_002/images/b.png", "x/y/z/c.png", "")
    ]
    found = locate(tmp_path, ["a.png", "d.png"])
    assert found.reasons == ("", NO_FILE)
    assert "found 1 images by name at another place" in found.notes[0]


def test_another_patients_file_of_the_same_name_is_never_used(tmp_path):
    touch(tmp_path, "train/patient2/study1/view1.jpg")
    texts = [f"C/train/patient{n}/study1/view1.jpg" for n in (1, 2, 3)]
    assert located(tmp_path, *texts) == ["", "train/patient2/study1/view1.jpg", ""]


def test_a_file_that_another_row_names_is_not_used_twice(tmp_path):
    touch(tmp_path, "b/a.png")
    found = locate(tmp_path, ["b/a.png", "c/A.png"])
    assert found.paths[1] == ""
    touch(tmp_path, "q/only.png")
    found = locate(tmp_path, ["q/only.png", "z/only.jpg", "z/x/other.jpg"])
    assert found.paths[1:] == ("", "")


def test_files_that_cannot_be_told_apart_are_left_out_and_copies_are_not(tmp_path):
    touch(tmp_path, "x/a.png", "y/a.png")
    found = locate(tmp_path, ["a.png"])
    assert found.paths == ("",)
    assert "several image files" in found.reasons[0]
    (tmp_path / "y/a.png").write_text("x/a.png")
    assert located(tmp_path, "a.png") == ["x/a.png"]


def test_the_folders_of_the_path_choose_between_files(tmp_path):
    touch(tmp_path, "deep/1/a.png", "deep/2/a.png")
    assert located(tmp_path, "z/1/a.png", "z/2/a.png") == ["deep/1/a.png", "deep/2/a.png"]


def test_capitals_make_a_difference_where_both_files_are_there(tmp_path):
    touch(tmp_path, "images/a.png", "images/A.png")
    if len(list((tmp_path / "images").iterdir())) < 2:
        pytest.skip("this file system does not tell capitals apart")
    assert located(tmp_path, "A.png", "a.png") == ["images/A.png", "images/a.png"]
    assert "other capital letters" not in " ".join(locate(tmp_path, ["A.png"]).notes)
    (tmp_path / "images/a.png").unlink()
    found = locate(tmp_path, ["z/a.PNG"])
    assert found.paths[0].endswith("A.png")
    assert "1 of them have other capital letters" in found.notes[1]


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_any_unicode_form(tmp_path, table, disk):
    touch(tmp_path, "images/" + unicodedata.normalize(disk, "Müller.png"))
    assert located(tmp_path, unicodedata.normalize(table, "Müller.png")) != [""]


def test_run_directories_and_hidden_folders_hold_no_images_and_links_may_circle(tmp_path):
    touch(tmp_path, "runs/r/run.json", "runs/r/figures/a.png", ".hidden/a.png", "in/b.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    assert located(tmp_path, "a.png", "b.png") == ["", "in/b.png"]


def test_another_folder_is_searched_last(tmp_path):
    touch(tmp_path, "part/a.png", "rest/a.png", "rest/b.png")
    found = locate(tmp_path / "part", ["a.png", "b.png"], also=tmp_path)
    assert found.paths == (str(tmp_path / "part/a.png"), str(tmp_path / "rest/b.png"))


def test_a_path_in_one_way():
    assert image_id(r".\a\..\b.png") == "b.png"
