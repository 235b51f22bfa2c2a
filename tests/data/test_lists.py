"""Published lists of any origin: found, read, recognised, checked, and used by the commands."""

from __future__ import annotations

import gzip
import json
import os
import tomllib
from pathlib import Path

import pytest

from cxrbench.data import lists as lists_module
from cxrbench.data.lists import assign_parts, identify_lists, read_list, read_lists
from cxrbench.data.splits import make_split
from cxrbench.errors import DataError
from cxrbench.interfaces import Exclusion


def folder_of(where: Path, **files: str | bytes) -> Path:
    """A folder with lists; ``__`` in a name is a dot."""
    where.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        path = where / name.replace("__", ".")
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return where


def names(start: int, stop: int) -> str:
    return "".join(f"i{row}.png\n" for row in range(start, stop))


@pytest.fixture
def made(cohort_of):
    """40 images of 20 patients, two each: ``i0`` and ``i1`` are of ``p0``."""
    labels = [[row // 2 % 2, 1 - row // 2 % 2] for row in range(40)]
    return cohort_of(labels, patients=[f"p{row // 2}" for row in range(40)])


@pytest.mark.parametrize(
    ("files", "has_val"),
    [
        (("train.txt", "val.txt", "test.txt"), True),
        (("train_list.txt", "val_list.csv", "test_list.txt.gz"), True),
        (("TRAIN.csv.gz", "valid", "test.tsv"), True),
        (("train_val_list.txt", "test_list.txt"), False),
        (("trainval.txt", "test_list_NIH.txt"), False),
    ],
)
def test_lists_are_found_by_their_names(tmp_path, files, has_val):
    texts = (
        (names(0, 30), names(30, 34), names(34, 40)) if has_val else (names(0, 34), names(34, 40))
    )
    contents = {name.replace(".", "__"): text for name, text in zip(files, texts, strict=True)}
    folder = folder_of(tmp_path / "l", **contents, train_10__txt="x", README__md="y")
    (folder / "train").mkdir(exist_ok=True)

    lists = read_lists(folder)

    assert list(lists.images) == (["train", "val", "test"] if has_val else ["train", "test"])
    assert lists.images["test"] == tuple(f"i{row}.png" for row in range(34, 40))


def test_the_first_word_of_a_line_is_the_image(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(
        b"\xef\xbb\xbfImage Index,Finding Labels\r\n"
        b"# a comment\r\n\r\n"
        b"a.png,Mass|Nodule\r\nb.png 0 1 0 0\r\n  c.png\t1\r\nd.png;2\r\n"
        b'"sub folder/e, f.png",1\r\n'
    )
    assert read_list(path) == ("a.png", "b.png", "c.png", "d.png", "sub folder/e, f.png")


@pytest.mark.parametrize("form", ["{}", "{}.png", "images_001/images/{}.jpg", "C:\\cxr\\{}.png"])
def test_images_are_named_with_or_without_ending_and_folders(tmp_path, made, form):
    parts = {"train": range(30), "val": range(30, 34), "test": range(34, 38)}
    files = {
        f"{part}__txt": "".join(form.format(f"i{row}") + " 0 1\n" for row in rows)
        for part, rows in parts.items()
    }

    split = make_split(made, None, f"lists:{folder_of(tmp_path / 'l', **files)}")

    assert split.parts.tolist() == ["train"] * 30 + ["val"] * 4 + ["test"] * 4 + [""] * 2
    assert (split.kind, split.shared_patients) == ("lists", 0)
    plain = {part: [f"i{row}" for row in rows] for part, rows in parts.items()}
    assert split.list_sha256 == identify_lists(plain, "")[1]
    assert split.list_name == f"l:{split.list_sha256[:8]}"


def test_without_a_validation_list_it_is_cut_from_training_by_patient(tmp_path, made):
    folder = folder_of(tmp_path / "l", train__txt=names(0, 32), test__txt=names(32, 40))

    split = make_split(made, None, f"lists:{folder}")

    assert set(split.parts[:32]) == {"train", "val"}
    assert set(split.parts[32:]) == {"test"}
    assert (split.parts[:32:2] == split.parts[1:32:2]).all()
    assert make_split(made, None, f"lists:{folder}", seed=1).hash != split.hash


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path, cohort_of):
    """As CheXpert names them: an unknown patient's image is not taken for another's."""
    ids = tuple(f"CheXpert/train/p{row}/s1/view1.jpg" for row in range(30))
    data = cohort_of([[row % 2, 0] for row in range(30)], image_ids=ids)
    lines = [f"small/train/p{row}/s1/view1.jpg" for row in range(30)]
    parts = {"train__txt": lines[:20], "val__txt": lines[20:25], "test__txt": lines[25:]}
    folder = folder_of(tmp_path / "l", **{n: "\n".join(some) for n, some in parts.items()})

    assert make_split(data, None, f"lists:{folder}").parts.tolist()[19:21] == ["train", "val"]
    folder_of(folder, test__txt="\n".join([*lines[25:], "small/train/p77/s9/view1.jpg"]))
    with pytest.raises(DataError, match=r"test.txt names 1 unknown images.*p77/s9"):
        make_split(data, None, f"lists:{folder}")


FAULTS = {
    "no test list": ({"train__txt": names(0, 30)}, ["no list of test images"]),
    "nothing": ({"other__txt": "x"}, ["no list of training images", "no list of test images"]),
    "two": (
        {"train__txt": names(0, 9), "train__csv": names(0, 9), "test__txt": names(9, 12)},
        ["2 lists of training images: train.csv and train.txt"],
    ),
    "empty": (
        {"train__txt": "", "test__txt": "\n \n# i1\n"},
        ["train.txt names no image", "test.txt names no image"],
    ),
    "binary": (
        {"train__txt": b"\x00\x01i1.png\n", "test__txt__gz": names(9, 12)},
        ["train.txt is not a text file"],
    ),
    "twice and unknown": (
        {"train__txt": names(0, 30) + "i3\n", "test__txt": "i31\nother_7.png\nother_8.png\n"},
        [
            "train.txt names 1 images more than once (i3)",
            "2 unknown images (other_7.png, other_8.png)",
        ],
    ),
    "in two lists": (
        {"train__txt": names(0, 32), "val__txt": names(30, 34), "test__txt": names(31, 40)},
        [
            "train.txt and val.txt both name 2 images (i30, i31)",
            "train.txt and test.txt both name 1 images (i31)",
            "val.txt and test.txt both name 3 images",
        ],
    ),
    "of other data": (
        {"train__txt": names(0, 30), "test__txt": "00000001_000.png\n00000002_000.png\n"},
        ["test.txt names none of the images of the data (00000001_000.png, 00000002_000.png)"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_all_faults_of_lists_are_in_one_error(tmp_path, made, case):
    files, expected = FAULTS[case]
    folder = folder_of(tmp_path / "l", **files)

    with pytest.raises(DataError) as error:
        make_split(made, None, f"lists:{folder}")

    for text in (*expected, str(folder), "expected:", "got:", "to do:"):
        assert text in str(error.value)


def test_a_packed_list_that_is_cut_or_a_pipe_is_an_error(tmp_path, made):
    folder = folder_of(tmp_path / "l", train__txt__gz=names(0, 30), test__txt=names(30, 40))
    packed = folder / "train.txt.gz"
    packed.write_bytes(packed.read_bytes()[:-9])
    (folder / "test.txt").unlink()
    os.mkfifo(folder / "test.txt")
    with pytest.raises(DataError, match=r"train.txt.gz cannot be read.*test.txt cannot be read"):
        read_lists(folder)
    with pytest.raises(DataError, match="No such file or directory"):
        read_lists(tmp_path / "none")


def test_a_huge_list_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("cxrbench.data.files.MAX_BYTES", 2**10)
    folder = folder_of(tmp_path / "l", train__txt=names(0, 300), test__txt__gz=names(0, 300))
    with pytest.raises(DataError, match=r"train.txt is too large.*test.txt.gz is too large"):
        read_lists(folder)


def test_patients_in_two_lists_are_an_error_unless_allowed(tmp_path, made):
    """``i31`` and ``i32``: the second image of p15 is for training, and the first of p16 is."""
    folder = folder_of(
        tmp_path / "l", train__txt=names(0, 31), val__txt=names(31, 35), test__txt=names(35, 40)
    )
    with pytest.raises(DataError) as error:
        make_split(made, None, f"lists:{folder}")
    assert "2 patients in two splits (1 in train and val, 1 in val and test)" in str(error.value)
    assert "--allow-overlap" in str(error.value)

    split = make_split(made, None, f"lists:{folder}", allow_overlap=True)

    assert split.shared_patients == 2
    assert split.parts.tolist().count("val") == 4
    assert "scores may be too high" in split.notes[-1]


def test_rows_without_a_usable_image_are_known_and_counted(tmp_path, made):
    """A list of the whole data fits a cohort that lacks some of its images."""
    from dataclasses import replace

    lacking = replace(made, excluded=(Exclusion("i40", "no file"), Exclusion("i41", "no file")))
    folder = folder_of(tmp_path / "l", train__txt=names(0, 32), test__txt=names(32, 42))

    parts, notes = assign_parts(lacking, read_lists(folder))

    assert parts.count("test") == 8
    assert "2 images of the lists are not in the data" in notes


def test_well_known_lists_are_recognised_by_their_content(tmp_path, made, monkeypatch):
    """In any files, in any order, with any choice of validation images."""
    known = {"train": ["i1", "i2", "i3"], "val": ["i4"], "test": ["i5", "missing_7"]}
    ours = {part: sorted(some) for part, some in known.items()}
    key = tuple(map(lists_module.digest_of, (ours["test"], ["i1", "i2", "i3", "i4"])))
    monkeypatch.setattr(lists_module, "_KNOWN", {key: "our-list"})
    one = folder_of(
        tmp_path / "a", train__txt="i1\ni2\ni3\n", val__txt="i4\n", test__txt="i5\nmissing_7\n"
    )
    other = folder_of(
        tmp_path / "b", train_val__csv="x/i4.png,1\nx/i3.png,0\ni2,\ni1,\n", test="missing_7\ni5\n"
    )
    less = folder_of(
        tmp_path / "c", train__txt="i1\n", val__txt="i4\n", test__txt="i5\nmissing_7\n"
    )

    found = [read_lists(folder) for folder in (one, other, less)]

    assert [lists.name.partition(":")[0] for lists in found] == ["our-list", "our-list", "c"]
    assert len({lists.sha256 for lists in found}) == 3
    parts, notes = assign_parts(made, found[0])  # it may name images that these data lack
    assert parts[:6] == ("", "train", "train", "train", "val", "test")
    assert "1 images of the lists are not in the data" in notes
    with pytest.raises(DataError, match=r"test.txt names 1 unknown images .missing_7."):
        assign_parts(made, found[2])


def drawn_lists(where: Path, *, overlap: bool = False) -> Path:
    """Lists of 88 of the 90 images of the dataset ``drawn``; i061 and i062 are of one patient."""
    ids = [f"i{row:03}" for row in range(90)]
    train, test = (ids[:62], ids[62:88]) if overlap else (ids[:60], ids[60:88])
    return folder_of(where, train__txt="\n".join(train), test__txt="\n".join(test))


def test_a_run_records_its_lists_and_the_board_names_them(cli, tmp_path, monkeypatch):
    drawn_lists(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    places = ("--data", "drawn", "--cache", tmp_path / "cache", "--runs", tmp_path / "runs")

    said = cli("run", "prior", *places, "--split", "lists:mine")

    assert said.code == 0, said.err
    assert "2 images are not in the lists split" in said.err + said.out
    assert "28 test images; SHA-256" in said.err + said.out
    (path,) = (file.parent for file in (tmp_path / "runs").glob("*/run.json"))
    about = json.loads((path / "run.json").read_text())
    sha256 = read_lists(tmp_path / "mine").sha256
    assert (about["split"], about["list_sha256"]) == ("lists", sha256)
    assert about["list_name"] == f"mine:{sha256[:8]}"
    assert about["test_images"] == 28
    assert f"lists split (mine:{sha256[:8]})" in " ".join(said.out.split())
    (row,) = json.loads(cli("leaderboard", "--runs", tmp_path / "runs", "--json").out)["boards"][0][
        "rows"
    ]
    assert (row["split"], row["list_name"], row["list_sha256"]) == (
        "lists",
        f"mine:{sha256[:8]}",
        sha256,
    )
    settings = tomllib.loads((path / "settings.toml").read_text())
    assert settings["split"] == f"lists:{tmp_path / 'mine'}"

    monkeypatch.chdir(tmp_path / "runs")
    again = cli("run", "--config", path / "settings.toml", *places[2:])
    assert again.code == 0, again.err
    assert "already complete" in again.out + again.err


def test_a_shared_patient_is_on_the_board(cli, tmp_path):
    folder = drawn_lists(tmp_path / "mine", overlap=True)
    run = ("run", "prior", "--data", "drawn", "--cache", tmp_path / "c", "--runs", tmp_path / "r")
    split = ("--split", f"lists:{folder}")

    refused = cli(*run, *split)
    assert (refused.code, "--allow-overlap" in refused.err) == (2, True)
    assert not (tmp_path / "r").exists()

    said = cli(*run, *split, "--allow-overlap")
    assert said.code == 0, said.err
    assert (
        "Warning: patients in two splits (--allow-overlap): 1. Scores may be too high."
        in " ".join(said.out.split())
    )
    (row,) = json.loads(cli("leaderboard", "--runs", tmp_path / "r", "--json").out)["boards"][0][
        "rows"
    ]
    assert row["shared_patients"] == 1


def test_data_check_names_every_shared_patient_and_every_fault(cli, tmp_path):
    folder = drawn_lists(tmp_path / "mine", overlap=True)
    check = ("data", "check", "drawn", "--no-images", "--json", "--split", f"lists:{folder}")

    said = cli(*check)
    found = {one["check"]: one for one in json.loads(said.out)["findings"]}
    assert said.code == 1
    assert found["official-parts-share-patients"]["items"][0]["detail"].endswith("test and train")
    assert "unusable-split" in found

    (folder / "test.txt").write_text("strange_1\n")
    found = {one["check"]: one for one in json.loads(cli(*check).out)["findings"]}
    assert "names none of the images" in found["unusable-split"]["items"][0]["detail"]

    drawn_lists(tmp_path / "mine")
    said = cli(*check)
    found = {one["check"]: one for one in json.loads(said.out)["findings"]}
    assert said.code == 0, said.out
    assert any("lists: mine:" in one["detail"] for one in found["note"]["items"])

    assert cli(*check[:-1], f"lists:{tmp_path / 'none'}").code == 2


def test_a_smoke_test_draws_from_each_list(cli, tmp_path):
    folder = drawn_lists(tmp_path / "mine")
    said = cli(
        *("run", "prior", "--data", "drawn", "--cache", tmp_path / "c", "--runs", tmp_path / "r"),
        *("--split", f"lists:{folder}", "--limit", 30),
    )
    assert said.code == 0, said.err
    (path,) = (file.parent for file in (tmp_path / "r").glob("*/run.json"))
    about = json.loads((path / "run.json").read_text())
    assert about["list_name"].startswith("mine:")
    assert about["test_images"] < 28


def test_official_says_whose_list_it_is(tmp_path, made):
    """A dataset's own split has its name; MedMNIST's is that of ChestMNIST."""
    from cxrbench.builtin.chestmnist import ChestMNIST
    from cxrbench.builtin.nih import NIH

    assert ChestMNIST().official_list(None) == ("medmnist", None)
    folder = folder_of(tmp_path / "own", train_val_list__txt="a\nb\n", test_list__txt="c\n")
    sha256 = read_lists(folder).sha256
    assert NIH().official_list(folder) == (f"own:{sha256[:8]}", sha256)


REAL = os.environ.get("CXRBENCH_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
def test_the_lists_of_the_literature_have_their_names(tmp_path):
    from cxrbench.builtin.nih import NIH

    root = Path(REAL or "")
    assert NIH().official_list(root / "nih-metadata")[0] == "nih-official"
    assert read_lists(root / "nih-metadata").name == "nih-official"
    assert read_lists(root / "nih-lists" / "chexnet-22433").name == "nih-22433"
    for share in (1, 10):
        folder = tmp_path / str(share)
        folder.mkdir()
        for name, file in (("train", f"train_{share}"), ("val", "val"), ("test", "test")):
            source = root / "nih-lists" / "chexnet-22433" / f"{file}.txt.gz"
            (folder / f"{name}.txt.gz").symlink_to(source)
        assert read_lists(folder).name == f"nih-22433-train-{share}"
    heads = tmp_path / "heads"
    heads.mkdir()
    for part in ("train", "val", "test"):
        (heads / f"{part}_list.txt").symlink_to(
            root / "nih-lists" / "arnoweng" / f"{part}_list_head.txt"
        )
    assert {len(some) for some in read_lists(heads).images.values()} == {300}
