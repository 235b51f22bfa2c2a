"""NIH's image folders, its official lists and the radiologists' boxes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cxrbench import (
    Box,
    DataError,
    Exclusion,
    choose_image,
    find_file,
    folders_below,
    identify_lists,
    image_stem,
    list_images,
    read_list,
    read_table,
)
from cxrbench.builtin._nih.table import LABEL_NAMES

_ARCHIVE = re.compile(r"images_[0-9]+")

Files = Mapping[str, Sequence[str]]
"""Paths of image files by their names without extension."""


@dataclass(frozen=True)
class ImageMatch:
    """``rows`` of the table that have an image, the ``paths`` of these images, and the rest.

    ``absent`` is how many rows lack a file that should be there.
    """

    rows: tuple[int, ...]
    paths: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    notes: tuple[str, ...]
    absent: int = 0


def find_images(root: Path) -> Files:
    """The image files of the first layout that has any.

    The layouts are, in this order, ``xray_images/``, ``images/``, ``images_001/images/`` to
    ``images_012/images/`` (or without the inner folder) together, the folder itself, and all
    folders in it at any depth. Links that lead nowhere or in a circle and hidden files are no
    images.

    Raises
    ------
    DataError : a folder cannot be listed, or no layout has an image.
    """
    for folders in chain(_layouts(root), _any_depth(root)):
        files: dict[str, tuple[str, ...]] = {}
        for folder in folders:
            for stem, paths in list_images(folder).items():
                files[stem] = (*files.get(stem, ()), *paths)
        if files:
            return files
    raise DataError(
        f"{root} has no images",
        expected="PNG or JPEG files in xray_images/, images/, images_001/images/ (and so on), "
        "beside the table, or at any depth",
        found=f"the folders {', '.join(_folder_names(root)) or '(none)'}, no image in them",
        fix="unpack the images into the folder, or link their folder there",
    )


_WHOLE_TABLE = 112_120
"""Rows of NIH's own table: beside it, any part of the images is a cohort, and the rest no fault."""


def match_images(file_names: Sequence[str], image_ids: Sequence[str], files: Files) -> ImageMatch:
    """Give each row of the table its image file, by the name without extension.

    Where several files share that name, the one that the table names exactly is used and the
    others are excluded. If it names several (in several folders), the first of them is used where
    all have the same content. Otherwise the row is excluded.

    Raises
    ------
    DataError : not a single row has an image.
    """
    rows, paths, excluded, absent = [], [], [], 0
    for row, (name, image_id) in enumerate(zip(file_names, image_ids, strict=True)):
        candidates = files.get(image_id, ())
        path = choose_image(name, candidates)
        if path is not None:
            rows.append(row)
            paths.append(path)
            others = [Exclusion(image_id, f"{p}: {path} is used") for p in candidates if p != path]
            excluded.extend(others)
        elif candidates:
            excluded.append(Exclusion(image_id, _ambiguous(candidates)))
        else:
            absent += 1
            excluded.append(Exclusion(image_id, "the table has a row, but there is no image file"))
    strangers = sorted(files.keys() - set(image_ids))
    excluded += [
        Exclusion(_readable(name), "there is an image file, but no row") for name in strangers
    ]
    if not rows:
        raise _nothing_matches(file_names, files)
    notes = _notes(len(image_ids) - len(rows), len(image_ids), len(strangers))
    absent *= len(image_ids) < _WHOLE_TABLE
    return ImageMatch(tuple(rows), tuple(paths), tuple(excluded), notes, absent)


def places_beside(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """A note on folders of other layouts than that of ``paths``, if there are any; else none."""
    used = {Path(path).parent for path in paths}
    others = [
        str(folder.relative_to(root))
        for folders in _layouts(root)
        for folder in folders
        if root not in folders and not used.intersection(folders) and os.path.isdir(folder)
    ]
    if not others:
        return ()
    where = ", ".join(sorted(str(folder.relative_to(root)) for folder in used))
    return (f"used the images in {where} only, not those in {', '.join(others)}",)


def _layouts(root: Path) -> Iterator[list[Path]]:
    yield [root / "xray_images"]
    yield [root / "images"]
    archives = [root / name for name in _folder_names(root) if _ARCHIVE.fullmatch(name)]
    yield [inner if os.path.isdir(inner := folder / "images") else folder for folder in archives]
    yield [root]


def _any_depth(root: Path) -> Iterator[list[Path]]:
    yield list(map(Path, folders_below(str(root))))


def _folder_names(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Links in circles are none; `os.DirEntry.is_dir` raises for them."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry))


def _readable(name: str) -> str:
    """A file's name may be bytes that are no text, which could not be written to a report."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _ambiguous(candidates: Sequence[str]) -> str:
    return f"several image files, and the table does not say which: {', '.join(candidates)}"


def _notes(without_image: int, rows: int, strangers: int) -> tuple[str, ...]:
    notes = []
    if without_image:
        notes.append(f"excluded {without_image:,} of {rows:,} rows without a usable image file")
    if strangers:
        notes.append(f"excluded {strangers:,} image files without a row")
    return tuple(notes)


def _nothing_matches(file_names: Sequence[str], files: Files) -> DataError:
    return DataError(
        "No image file has a row in the table",
        expected=f"files named like {', '.join(sorted(file_names)[:3])} (or .jpg)",
        found=f"{len(files):,} images, such as {', '.join(sorted(files)[:3])}",
        fix="use the table that belongs to these images, or rename the images as the table does",
    )


TRAIN_VAL_LIST = "train_val_list.txt"
TEST_LIST = "test_list.txt"
BOX_LIST = "BBox_List_2017.csv"

_OTHER_NAMES = {"Infiltrate": "Infiltration"}  # what the box list calls the table's label


def read_parts(image_ids: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Each image's part in NIH's official lists: ``train_val``, ``test`` or ``""`` (in neither).

    Raises
    ------
    DataError : a list is missing, unreadable or empty, both lists have an image, or no list has
        any of these images.
    """
    train_val, test = _read_list(folder, TRAIN_VAL_LIST), _read_list(folder, TEST_LIST)
    if both := sorted(train_val & test):
        raise DataError(
            f"Both official lists in {folder} have the same images",
            expected="each image in one list",
            found=f"{len(both):,} images in both, such as {', '.join(both[:3])}",
            fix="download NIH's lists again",
        )
    parts = tuple(
        "test" if name in test else "train_val" if name in train_val else "" for name in image_ids
    )
    if not any(parts):
        raise DataError(
            f"The official lists in {folder} have none of the cohort's images",
            expected=f"names like {', '.join(image_ids[:3])}",
            found=f"{len(train_val) + len(test):,} names, such as {', '.join(sorted(test)[:3])}",
            fix="use --split patient, or the lists that belong to these images",
        )
    return parts


def identify_official(folder: Path) -> tuple[str, str]:
    """The name and the SHA-256 of the official lists in a folder, as `identify_lists`."""
    parts = {"train": _read_list(folder, TRAIN_VAL_LIST), "test": _read_list(folder, TEST_LIST)}
    return identify_lists(parts, folder.resolve().name)


def read_boxes(folder: Path, image_ids: Collection[str]) -> tuple[Box, ...]:
    """The radiologists' boxes on these images, in pixels of NIH's 1024x1024 files.

    None where the folder has no ``BBox_List_2017.csv``. Columns are taken by position (image,
    label, x, y, width, height), because commas inside its last title break the published header.

    Raises
    ------
    DataError : a row is not a valid box, or its label is not one of NIH's.
    """
    path = find_file(folder, (BOX_LIST,))
    if path is None:
        return ()
    boxes = (_box(row, line, path) for line, row in read_table(path, fit=False).rows)
    return tuple(box for box in boxes if box.image_id in image_ids)


def _read_list(folder: Path, name: str) -> frozenset[str]:
    path = find_file(folder, (name, name.replace(".txt", "_NIH.txt")))  # Kaggle's name
    if path is None:
        raise DataError(
            f"{folder} has no {name}",
            expected=f"NIH's {TRAIN_VAL_LIST} and {TEST_LIST}, plain or .gz",
            found="neither" if find_file(folder, (TRAIN_VAL_LIST, TEST_LIST)) is None else "one",
            fix="download both and give their folder: --split official:DIR",
        )
    names = frozenset(map(image_stem, read_list(path)))
    if not names:
        raise DataError(
            f"{path} is empty",
            expected="one image name per line",
            found="no name",
            fix="download it again",
        )
    return names


def _box(row: list[str], line: int, path: Path) -> Box:
    cells = [cell.strip() for cell in row if cell.strip()]
    label = _OTHER_NAMES.get(cells[1], cells[1]) if len(cells) > 1 else ""
    try:
        x, y, width, height = map(float, cells[2:])
    except ValueError:
        x = y = width = height = math.nan
    # The comparisons are false for NaN, so a cell that is no number ends here as well.
    fits = min(x, y) >= 0 and min(width, height) > 0 and math.isfinite(x + y + width + height)
    if not fits or label not in LABEL_NAMES:
        raise DataError(
            f"Line {line} of {path} is not a valid box",
            expected="image, one of NIH's labels, x, y, width and height in pixels",
            found=", ".join(row)[:200],
            fix="correct that line, or remove the file to continue without boxes",
        )
    return Box(image_stem(cells[0]), label, x, y, width, height)
