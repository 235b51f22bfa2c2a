"""NIH's folder as it is downloaded, and the ways in which folders of images go wrong."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cxrbench import DataError
from cxrbench.builtin.nih import NIH
from cxrbench.data.cohort import validate
from cxrbench.data.splits import make_split

STEMS = tuple(f"{patient:08}_{visit:03}" for patient in range(1, 13) for visit in range(2))
ALL = ("Hernia", "No Finding", "Mass|Nodule")

HEADER_2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
HEADER_2017 = HEADER_2020.replace("Sex", "Gender") + ","


def table(header: str, *, age: str = "{}", end: str = "") -> str:
    lines = [header]
    for row, stem in enumerate(STEMS):
        patient, visit = int(stem[:8]), int(stem[9:])
        years = age.format(30 + patient)
        lines.append(
            f"{stem}.png,{ALL[row % 3]},{visit},{patient},{years},{'FM'[patient % 2]},PA,"
            f"2682,2749,0.143,0.143{end}"
        )
    return "\n".join(lines) + "\n"


def small(root: Path, *folders: str, stems=STEMS[:3]) -> Path:
    """A table of three images, and their files in each of the folders."""
    root.mkdir(exist_ok=True)
    rows = "".join(f"{stem}.png,Mass,{stem[:8]}\n" for stem in STEMS[:3])
    (root / "Ground_Truth.csv").write_text(f"Image Index,Finding Labels,Patient ID\n{rows}")
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            (root / folder / f"{stem}.png").write_text(stem)
    return root


def load(root: Path):
    cohort = NIH(path=str(root)).load()
    validate(cohort)
    return cohort


@pytest.fixture
def official(tmp_path) -> Path:
    """Twelve folders, the table of 2020, the lists and the boxes, in NIH's own form."""
    for row, stem in enumerate(STEMS):
        folder = tmp_path / f"images_{row // 2 + 1:03}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.png").touch()
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(table(HEADER_2020))
    # NIH's lists end without a line feed.
    for name, stems in (("train_val_list.txt", STEMS[:-4]), ("test_list.txt", STEMS[-4:])):
        (tmp_path / name).write_text("\n".join(f"{stem}.png" for stem in stems))
    (tmp_path / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        f"{STEMS[3]}.png,Infiltrate,225.084745762712,547.019216763771,86.7796610169491,79.18\n"
        f"{STEMS[-1]}.png,Pneumothorax,1,2,3,4\n"
    )
    return tmp_path


def test_the_official_folder_works_as_it_is_downloaded(official):
    cohort = load(official)

    assert cohort.image_ids == STEMS
    assert cohort.excluded == cohort.notes == ()
    assert set(cohort.sexes) == {"F", "M"}
    assert [(box.image_id, box.label, box.width) for box in cohort.boxes] == [
        (STEMS[3], "Infiltration", 86.7796610169491),
        (STEMS[-1], "Pneumothorax", 3.0),
    ]
    folders = {Path(source).relative_to(official).parts[0] for source in cohort.sources}
    assert folders == {f"images_{number:03}" for number in range(1, 13)}

    split = make_split(cohort, NIH(path=str(official)), "official")
    assert {cohort.image_ids[row] for row in split.rows("test")} == set(STEMS[-4:])


def test_unpacked_to_one_place_it_is_the_same_cohort(official, tmp_path):
    apart = load(official)
    (official / "images").mkdir()
    for source in apart.sources:
        os.rename(source, official / "images" / Path(source).name)
    together = load(official)

    assert together.image_ids == apart.image_ids
    assert together.notes == ()


def test_both_editions_of_the_table_give_the_same_cohort(official):
    of_2020 = load(official)
    (official / "Data_Entry_2017_v2020.csv").unlink()
    (official / "Data_Entry_2017.csv").write_text(table(HEADER_2017, age="0{}Y", end=","))
    of_2017 = load(official)

    for field in ("image_ids", "patient_ids", "sexes", "views", "boxes", "notes", "excluded"):
        assert getattr(of_2017, field) == getattr(of_2020, field)
    np.testing.assert_array_equal(of_2017.labels, of_2020.labels)
    np.testing.assert_array_equal(of_2017.ages, of_2020.ages)


def test_an_archive_that_is_missing_is_counted(official):
    for image in (official / "images_007" / "images").iterdir():
        image.unlink()
    cohort = load(official)

    assert len(cohort) == len(STEMS) - 2
    assert cohort.notes == ("excluded 2 of 24 rows without a usable image file",)


def test_links_in_circles_stop_nothing(tmp_path):
    root = small(tmp_path, "images_001/images")
    for name in ("images_003", "xray_images", "itself"):
        (root / name).symlink_to(name)
    (root / "images").symlink_to(".")
    (root / "images_001/images/circle.png").symlink_to("circle.png")
    (root / "images_001/images/up.png").symlink_to("..")
    (root / "images_001/images/images").symlink_to("../images")

    cohort = load(root)
    assert cohort.image_ids == STEMS[:3]
    assert cohort.excluded == ()


def test_a_table_that_is_a_link_in_a_circle_is_none(tmp_path):
    (tmp_path / "Ground_Truth.csv").symlink_to("Ground_Truth.csv")
    assert NIH.recognise(tmp_path) is None


def test_a_folder_that_is_there_twice_counts_once(tmp_path):
    root = small(tmp_path, "images_001/images")
    (root / "images_002").symlink_to("images_001")

    cohort = load(root)
    assert cohort.image_ids == STEMS[:3]
    assert cohort.notes == ()
    assert len(cohort.excluded) == 3
    assert all("images_001" in item.reason.partition(": ")[2] for item in cohort.excluded)


def test_of_two_files_of_one_name_the_content_decides(tmp_path):
    root = small(tmp_path, "images_001/images", "images_002/images")
    (root / "images_002/images" / f"{STEMS[0]}.png").write_text("another one")
    (root / "images_001/images" / f"{STEMS[1]}.jpg").write_text("not named by the table")

    cohort = load(root)
    assert cohort.image_ids == STEMS[1:3]
    assert all("images_001" in source for source in cohort.sources)
    reasons = [item.reason for item in cohort.excluded if item.image_id == STEMS[0]]
    assert len(reasons) == 1
    assert "does not say which" in reasons[0]
    assert cohort.notes == ("excluded 1 of 3 rows without a usable image file",)


@pytest.mark.parametrize("first", ["images", "xray_images"])
def test_images_in_other_places_are_told_where_some_are_missing(tmp_path, first):
    root = small(tmp_path, "images_001/images", "images_002")
    (root / first).mkdir()
    (root / first / f"{STEMS[0]}.png").touch()

    cohort = load(root)
    assert cohort.image_ids == STEMS[:1]
    assert cohort.notes == (
        "excluded 2 of 3 rows without a usable image file",
        f"used the images in {first} only, not those in images_001/images, images_002",
    )


def test_endings_in_any_case_and_entries_that_are_no_files(tmp_path):
    root = small(tmp_path, "images", stems=())
    for stem, ending in zip(STEMS, ("PNG", "Jpg", "jPEG"), strict=False):
        (root / "images" / f"{stem}.{ending}").touch()
    (root / "images" / "folder.png").mkdir()
    os.mkfifo(root / "images" / "pipe.png")
    (root / "images" / "text.txt").touch()

    cohort = load(root)
    assert cohort.image_ids == STEMS[:3]
    assert cohort.excluded == ()


def test_names_that_are_no_text_can_be_reported(tmp_path):
    root = small(tmp_path, "images")
    with open(os.fsencode(root / "images") + b"/\xff\xferay.png", "w"):
        pass
    (root / "images" / 'two\nlines, "quoted".png').touch()

    cohort = load(root)
    assert cohort.image_ids == STEMS[:3]
    assert {item.image_id for item in cohort.excluded} == {r"\xff\xferay", 'two\nlines, "quoted"'}
    for item in cohort.excluded:
        item.image_id.encode("utf-8")


def test_a_folder_that_cannot_be_listed_is_explained(tmp_path, monkeypatch):
    """Root may read everything, so the refusal is made."""
    root = small(tmp_path, "images_001/images", "images_002/images")
    locked, lists = root / "images_002/images", os.scandir

    def scandir(path):
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return lists(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError) as error:
        NIH(path=str(root)).load()
    for words in (f"{locked} cannot be listed", "PermissionError", "chmod u+rx"):
        assert words in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_locked_folders_and_links_into_them(tmp_path):
    root = small(tmp_path, "images_001/images", "images_002/images")
    for folder in (root / "images_002", root / "images_002" / "images"):
        folder.chmod(0)
        with pytest.raises(DataError, match="cannot be listed"):
            NIH(path=str(root)).load()
        folder.chmod(0o700)

    beside = tmp_path / "beside"
    small(beside, "images")
    for stem in STEMS[:3]:
        (beside / "images" / f"{stem}.png").unlink()
        (beside / "images" / f"{stem}.png").symlink_to(root / "images_002/images" / f"{stem}.png")
    (root / "images_002").chmod(0)
    # They are there; reading them will say why they cannot be used.
    assert load(beside).image_ids == STEMS[:3]
    (root / "images_002").chmod(0o700)


REAL = os.environ.get("CXRBENCH_REAL_DATA")
ARCHIVES = (4_999, *[10_000] * 10, 7_121)


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
def test_the_whole_table_over_twelve_folders_is_found_in_seconds(tmp_path):
    """NIH's 112,120 names as links to one empty file for each folder; no pixel is read."""
    metadata = Path(REAL or "") / "nih-metadata"
    for packed in metadata.glob("*.gz"):
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    text = (tmp_path / "Data_Entry_2017_v2020.csv").read_text()
    names = iter([line.partition(",")[0] for line in text.splitlines()[1:]])
    for number, images in enumerate(ARCHIVES, 1):
        folder = tmp_path / f"images_{number:03}" / "images"
        folder.mkdir(parents=True)
        first = folder / next(names)
        first.touch()
        for _ in range(images - 1):
            os.link(first, folder / next(names))
    assert next(names, None) is None

    # Its own process, whose time is this alone's however busy the machine is.
    code = (
        "import sys, time; from cxrbench.builtin._nih.files import find_images\n"
        "from pathlib import Path; start = time.process_time()\n"
        "print(len(find_images(Path(sys.argv[1]))), time.process_time() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    found, seconds = done.stdout.split()
    assert int(found) == 112_120
    assert float(seconds) < 4

    dataset = NIH(path=str(tmp_path))
    start = time.process_time()
    cohort = dataset.load()
    assert time.process_time() - start < 12
    validate(cohort)
    assert (len(cohort), len(set(cohort.patient_ids)), len(cohort.boxes)) == (112_120, 30_805, 984)
    assert cohort.excluded == cohort.notes == ()
    parts = dataset.official_parts(cohort, None)
    assert (parts.count("train_val"), parts.count("test")) == (86_524, 25_596)
