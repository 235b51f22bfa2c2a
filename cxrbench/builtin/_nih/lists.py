"""NIH's published lists: the official train_val and test images, and the radiologists' boxes."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from cxrbench import Box, DataError, find_file, image_stem, read_table, read_text
from cxrbench.builtin._nih.table import LABEL_NAMES

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
    path = find_file(folder, (name,))
    if path is None:
        raise DataError(
            f"{folder} has no {name}",
            expected=f"NIH's {TRAIN_VAL_LIST} and {TEST_LIST}, plain or .gz",
            found="neither" if find_file(folder, (TRAIN_VAL_LIST, TEST_LIST)) is None else "one",
            fix="download both and give their folder: --split official:DIR",
        )
    text, _ = read_text(path)
    names = frozenset(image_stem(line.strip()) for line in text.splitlines() if line.strip())
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
            found=", ".join(row),
            fix="correct that line, or remove the file to continue without boxes",
        )
    return Box(image_stem(cells[0]), label, x, y, width, height)
