"""The checkup as a whole: a spoilt cohort has each planted fault found and named."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

QUICK = ("--max-bad", "0.5")


def checked(cli, *arguments):
    said = cli("data", "check", *arguments, "--json")
    assert said.code in (0, 1), said.err
    return said.code, json.loads(said.out)


def by_check(found) -> dict[str, list[list[str]]]:
    return {f["check"]: [item["image_ids"] for item in f["items"]] for f in found["findings"]}


def edit_table(folder, change) -> None:
    path = folder / "Ground_Truth.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *change(rows[1:])])


@pytest.fixture
def spoilt(films_to_spoil):
    """One of every fault; the images that each is in."""
    paths = sorted((films_to_spoil / "images").iterdir())
    one_each = list({path.name[:8]: path for path in paths}.values())
    copied, cut, negative, small, blank, painted, gone = one_each[:7]
    cv2.imwrite(str(negative), 255 - cv2.imread(str(negative), 0))
    cv2.imwrite(str(small), cv2.resize(cv2.imread(str(small), 0), (100, 100)))
    cv2.imwrite(str(blank), np.zeros((160, 160), np.uint8))
    cv2.imwrite(str(painted), cv2.applyColorMap(cv2.imread(str(painted), 0), cv2.COLORMAP_HOT))
    cut.write_bytes(cut.read_bytes()[:3000])
    gone.unlink()
    shutil.copy(copied, films_to_spoil / "images" / "77777777_000.png")
    shutil.copy(one_each[8], films_to_spoil / "images" / "88888888_000.png")
    typo, both, old, nobody = (path.name for path in one_each[10:14])

    def change(rows):
        for row in rows:
            row[1] = {typo: "Efusion", both: "No Finding|Mass"}.get(row[0], row[1])
            row[2] = "" if row[0] == nobody else row[2]
            row[3] = "414" if row[0] == old else row[3]
        return [*rows, ["77777777_000.png", "Mass", "77777777", "50", "PA"]]

    edit_table(films_to_spoil, change)
    return films_to_spoil, {
        "unknown-label": [typo],
        "no-finding-and-finding": [both],
        "unclear-patient": [nobody],
        "unreadable": [cut.name],
        "tiny": [small.name],
        "constant": [blank.name],
        "inverted": [negative.name],
        "colour": [painted.name],
        "impossible-age": [old],
        "left-out": [gone.name, "88888888_000.png"],
        "copies": [copied.name, "77777777_000.png"],
    }


def test_every_planted_fault_is_found_and_named(cli, spoilt):
    folder, planted = spoilt
    code, found = checked(cli, folder, *QUICK)
    assert code == 1
    assert not found["sound"]
    images = by_check(found)
    copies = images.pop("duplicates-across-patients", None) or images.pop("duplicates-across-parts")
    assert copies == [sorted(name[:-4] for name in planted.pop("copies"))]
    for check, names in planted.items():
        assert sorted(images[check]) == [[name[:-4]] for name in sorted(names)], check
    assert not images.keys() - planted.keys() - {"too-rare-in-test", "note", "no-official-split"}


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_names_them_within_the_width(cli, spoilt, width, terminal):
    terminal(width)
    folder, planted = spoilt
    said = cli("data", "check", folder, *QUICK, "--no-images")
    assert said.code == 1
    assert max(map(len, said.out.splitlines())) <= width
    for check in ("unknown-label", "no-finding-and-finding", "unclear-patient", "left-out"):
        assert f"[{check}]" in said.out
        assert planted[check][0][:-4] in said.out
    assert said.out.index("Errors: ") < said.out.index("Warnings: ")
    assert said.out.index("Warnings: ") < said.out.index("Counts")
    assert said.out.rstrip().splitlines()[-1].endswith("errors, 3 warnings; checked the table only")


def test_a_sound_cohort_ends_with_0_and_counts_everything(cli, drawn_films):
    code, found = checked(cli, drawn_films)
    assert code == 0
    assert found["sound"]
    assert {f["severity"] for f in found["findings"]} <= {"warning", "info"}
    assert found["counts"]["patients"] == 30
    assert found["looked_at"] == found["counts"]["images"]
    assert [s["features"] for s in found["shortcuts"]][-1] == "age, sex and view"
    said = cli("data", "check", drawn_films)
    assert said.code == 0
    assert "looking at images" in said.err
    assert "PNG L 160×160" in said.out
    found = list(
        csv.DictReader(cli("data", "check", drawn_films, "--format", "csv").out.splitlines())
    )
    assert {line["severity"] for line in found} <= {"warning", "info"}
    assert cli("data", "check", drawn_films, "--format", "html").out.startswith("<!DOCTYPE html>")


def test_a_table_alone_and_a_sample(cli, drawn_films):
    code, found = checked(cli, drawn_films, "--no-images")
    assert (code, found["looked_at"], found["shortcuts"]) == (0, None, [])
    code, found = checked(cli, drawn_films, "--sample", 7)
    assert (code, found["looked_at"]) == (0, 7)
    assert sum(found["counts"]["files"].values()) == 7


def test_a_table_without_any_image(cli, drawn_films, tmp_path):
    shutil.copy(drawn_films / "Ground_Truth.csv", tmp_path)
    code, found = checked(cli, tmp_path)
    assert code == 1
    assert next(iter(by_check(found))) == "no-images"
    assert found["counts"]["patients"] == 30
    assert checked(cli, tmp_path, "--no-images")[0] == 0


def test_a_table_that_cannot_be_used_at_all_is_a_finding(cli, films_to_spoil):
    path = films_to_spoil / "Ground_Truth.csv"
    path.write_text(path.read_text().replace("Finding Labels", "Found"))
    code, found = checked(cli, films_to_spoil)
    assert code == 1
    assert (by_check(found), found["counts"]) == ({"cannot-load": [[]]}, None)
    said = cli("data", "check", films_to_spoil)
    assert said.code == 1
    assert "has no column 'Finding Labels'" in " ".join(said.out.split())
    assert said.out.rstrip().endswith("1 error, 0 warnings; checked nothing")


def test_official_parts_that_share_a_patient(cli, drawn_films, tmp_path):
    with (drawn_films / "Ground_Truth.csv").open(newline="") as file:
        names = [row["Image Index"] for row in csv.DictReader(file)]
    patient = next(name[:8] for name in names if name.endswith("_001.png"))
    first = f"{patient}_000.png"
    test = [first, *(name for name in names[::4] if not name.startswith(patient))]
    (tmp_path / "test_list.txt").write_text("\n".join(test))
    others = [name for name in names if name not in test]
    (tmp_path / "train_val_list.txt").write_text("\n".join(others))
    code, found = checked(cli, drawn_films, "--no-images", "--split", f"official:{tmp_path}")
    assert code == 1
    images = by_check(found)
    assert first[:-4] in [
        image for item in images["official-parts-share-patients"] for image in item
    ]
    assert "unusable-split" in images


@pytest.fixture(scope="module")
def without_patients(tmp_path_factory):
    """A file in MedMNIST's form; a film is in two parts, another twice in one."""
    rng = np.random.default_rng(0)
    made = {}
    for part, count in {"train": 30, "val": 6, "test": 12}.items():
        made[f"{part}_images"] = rng.integers(0, 200, (count, 28, 28), dtype=np.uint8)
        made[f"{part}_labels"] = (rng.random((count, 14)) < 0.5).astype(np.uint8)
    made["test_images"][3] = made["train_images"][5]
    made["train_images"][7] = made["train_images"][8]
    path = tmp_path_factory.mktemp("medmnist") / "chestmnist.npz"
    np.savez(path, **made)
    return path


def test_where_patients_are_unknown_parts_still_matter_and_patients_do_not(cli, without_patients):
    code, found = checked(cli, without_patients)
    assert code == 1
    images = by_check(found)
    assert images["duplicates-across-parts"] == [["train_5", "test_3"]]
    assert images["repeated-film"] == [["train_7", "train_8"]]
    assert not {"duplicates-across-patients", "near-duplicates-across-patients"} & images.keys()
    assert "unknown-patients" in images
    assert found["split"] == "official"  # the dataset's own, as for a run
    assert found["counts"]["patients"] is None
    assert {label["patients"] for label in found["counts"]["labels"]} == {None}
    said = cli("data", "check", without_patients)
    assert "patients  unknown" in said.out
    assert "split     train 30, val 6, test 12" in said.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/nowhere/at/all"], "there is no such file"),
        (["nih:path=/nowhere/at/all"], "is not a folder"),
        (["nih"], "needs the path of its folder"),
        (["phantom:patients=3"], "cannot be drawn"),
        (["phantom", "--split", "odd"], "--split cannot be"),
        (["phantom", "--split", "official:/nowhere"], "there is no such folder"),
        (["phantom", "--fractions", "a"], "--fractions cannot be"),
        (["phantom", "--max-bad", "7"], "--max-bad"),
    ],
)
def test_wrong_use_is_no_finding(cli, arguments, told):
    said = cli("data", "check", *arguments)
    assert said.code == 2
    assert told in said.err
    assert said.out == ""


def test_a_dataset_of_a_plugin_that_knows_nothing_of_checks(cli):
    code, found = checked(cli, "drawn:official=true", "--split", "official")
    assert code == 0, by_check(found)
    assert found["counts"]["files"] == {"uint8 pixels 48×48": 90}
    assert found["split_hash"]
