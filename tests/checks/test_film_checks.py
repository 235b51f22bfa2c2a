"""One image at a time, and copies: what is planted is found, with the image named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import Recorder

from cxrbench.builtin.nih import NIH
from cxrbench.builtin.phantom import Phantom
from cxrbench.checks.duplicates import check_duplicates
from cxrbench.checks.images import check_images, check_share, look_at_films
from cxrbench.data.splits import Split


def look(folder, rows=None):
    dataset = NIH(path=str(folder))
    cohort = dataset.load()
    rows = np.arange(len(cohort)) if rows is None else rows
    films = look_at_films(dataset, cohort, rows, max_pixels=10**6, threads=2, display=Recorder())
    return cohort, films


def images_by_check(findings) -> dict[str, list[str]]:
    return {f.check: [", ".join(item.image_ids) for item in f.items] for f in findings}


def paths(folder) -> list:
    return sorted((folder / "images").iterdir())


def change(path, edit) -> str:
    cv2.imwrite(str(path), edit(cv2.imread(str(path), 0)))
    return path.stem


def test_drawn_films_have_nothing_wrong(drawn_films):
    cohort, films = look(drawn_films)
    assert check_images(cohort, films) == ()
    assert check_duplicates(cohort, None, films) == ()
    assert {file.kind for file in films.files} == {"PNG L"}
    assert {(file.width, file.height) for file in films.files} == {(160, 160)}


EDITS = {
    "inverted": lambda image: 255 - image,
    "constant": lambda image: np.full_like(image, 200),
    "tiny": lambda image: cv2.resize(image, (100, 160)),
    "colour": lambda image: cv2.applyColorMap(image, cv2.COLORMAP_JET),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_planted_fault_is_found_and_named(films_to_spoil, name):
    image = change(paths(films_to_spoil)[5], EDITS[name])
    cohort, films = look(films_to_spoil)
    assert images_by_check(check_images(cohort, films)) == {name: [image]}


@pytest.mark.parametrize(
    ("edit", "words"),
    [(lambda image: 255 - image, "a negative"), (lambda image: np.rot90(image, 2), "upside down")],
)
def test_a_negative_and_an_image_upside_down_are_told_apart(films_to_spoil, edit, words):
    change(paths(films_to_spoil)[5], edit)
    cohort, films = look(films_to_spoil)
    ((item,),) = (f.items for f in check_images(cohort, films))
    assert item.detail.startswith(f"{words}: likeness -")


def test_grey_stored_in_three_channels_or_with_a_small_tint_is_not_in_colour(films_to_spoil):
    change(paths(films_to_spoil)[0], lambda image: cv2.merge([image] * 3))
    change(paths(films_to_spoil)[1], lambda image: cv2.merge([image, image, image | 7]))
    cohort, films = look(films_to_spoil)
    assert check_images(cohort, films) == ()
    assert [file.kind for file in films.files[:2]] == ["PNG RGB"] * 2


def test_images_that_cannot_be_read_are_told_with_their_reason(films_to_spoil):
    cut, icon, text, gone = paths(films_to_spoil)[:4]
    cut.write_bytes(cut.read_bytes()[:2000])
    change(icon, lambda image: image[:8, :8])
    text.write_text("no image")
    cohort = NIH(path=str(films_to_spoil)).load()
    gone.unlink()
    films = look_at_films(
        NIH(), cohort, np.arange(4), max_pixels=10**6, threads=1, display=Recorder()
    )
    found = {f.check: f for f in check_images(cohort, films)}
    assert check_share(cohort, films, 0.9)  # not one of the four can be used
    reasons = [item.detail for item in found["unreadable"].items]
    for reason, words in zip(
        reasons, ("truncated", "8x8 pixels", "not an image", "No such file"), strict=True
    ):
        assert words in reason
    assert images_by_check([found["tiny"]]) == {"tiny": [icon.stem]}


@pytest.mark.parametrize(("max_bad", "stops"), [(0.01, True), (0.5, False)])
def test_as_many_unreadable_images_as_stop_a_run_are_an_error(films_to_spoil, max_bad, stops):
    paths(films_to_spoil)[0].write_bytes(b"")
    cohort, films = look(films_to_spoil)
    assert [one.check for one in check_share(cohort, films, max_bad)] == (
        ["too-many-unreadable"] * stops
    )


@pytest.mark.parametrize("looked", [True, False])
def test_rows_without_a_file_count_as_unreadable_images_do(films_to_spoil, looked):
    for path in paths(films_to_spoil)[:3]:
        path.unlink()
    cohort, films = look(films_to_spoil)
    share = 3 / (len(cohort) + 3)
    (found,) = check_share(cohort, films if looked else None, share - 0.001)
    assert f"3 of {len(cohort) + 3} rows have no file" in found.summary
    assert check_share(cohort, films if looked else None, share + 0.001) == ()


def test_a_dataset_that_decodes_by_itself():
    dataset = Phantom(patients=20, size=64)
    cohort = dataset.load()
    films = look_at_films(
        dataset, cohort, np.array([2, 5]), max_pixels=10**6, threads=1, display=Recorder()
    )
    assert [file.kind for file in films.files] == ["uint8 pixels"] * 2
    found = images_by_check(check_images(cohort, films))
    assert found == {"tiny": [cohort.image_ids[2], cohort.image_ids[5]]}


def split_of(cohort, test) -> Split:
    parts = np.array(["test" if i in test else "train" for i in cohort.image_ids], "<U5")
    return Split(parts, "patient", 0, (0.7, 0.1, 0.2), "")


@pytest.fixture
def copied(films_to_spoil):
    """One film copied to another patient's as it is, one as a JPEG, one under its patient."""
    spoilt = paths(films_to_spoil)
    by_patient = {path.stem.partition("_")[0]: path for path in reversed(spoilt)}
    first, second, third, fourth = list(by_patient.values())[:4]
    second.write_bytes(first.read_bytes())
    film = cv2.imread(str(third), 0)
    fourth.unlink()
    cv2.imwrite(str(fourth.with_suffix(".jpg")), film, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return films_to_spoil, [path.stem for path in (first, second, third, fourth)]


def test_copies_across_parts_and_across_patients(copied):
    folder, (first, second, third, fourth) = copied
    cohort, films = look(folder)
    same = [", ".join(sorted([first, second]))], [", ".join(sorted([third, fourth]))]
    across_patients = {
        "duplicates-across-patients": same[0],
        "near-duplicates-across-patients": same[1],
    }
    assert images_by_check(check_duplicates(cohort, None, films)) == across_patients
    together = split_of(cohort, {first, second, third, fourth})
    assert images_by_check(check_duplicates(cohort, together, films)) == across_patients
    apart = split_of(cohort, {first, third})
    found = check_duplicates(cohort, apart, films)
    assert images_by_check(found) == {
        "duplicates-across-parts": same[0],
        "near-duplicates-across-parts": same[1],
    }
    assert all("test and train" in item.detail for f in found for item in f.items)


def test_a_copy_with_other_labels_says_so(films_to_spoil):
    first = paths(films_to_spoil)[0]
    patient = first.stem.partition("_")[0]
    (films_to_spoil / "images" / f"{patient}_900.png").write_bytes(first.read_bytes())
    table = films_to_spoil / "Ground_Truth.csv"
    rows = table.read_text().splitlines()
    label = "Hernia" if "Hernia" not in rows[1] else "Mass"
    table.write_text("\n".join([*rows, f"{patient}_900.png,{label},{int(patient)},50,PA", ""]))
    cohort, films = look(films_to_spoil)
    (found,) = check_duplicates(cohort, None, films)
    assert (found.check, found.severity) == ("repeated-film", "info")
    assert found.items[0].detail.endswith("with different labels")


def test_three_copies_of_which_two_are_one_file_are_one_group(copied):
    folder, (first, second, *_) = copied
    film = cv2.imread(str(folder / "images" / f"{first}.png"), 0)
    last = paths(folder)[-1]
    cv2.imwrite(str(last), film // 2 + 40)
    cohort, films = look(folder)
    found = {f.check: f for f in check_duplicates(cohort, None, films)}
    groups = [set(item.image_ids) for item in found["near-duplicates-across-patients"].items]
    assert {first, second, last.stem} in groups


def test_blank_images_are_not_copies_of_each_other(films_to_spoil):
    for path in paths(films_to_spoil)[:3]:
        change(path, EDITS["constant"])
    cohort, films = look(films_to_spoil)
    assert check_duplicates(cohort, None, films) == ()
