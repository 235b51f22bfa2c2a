"""The table of labels: one column for each finding, or all findings of an image in one cell."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench import DataError

if TYPE_CHECKING:
    import numpy as np

IMAGE_COLUMNS = (
    *("image", "image_id", "Image Index", "file", "filename", "path"),
    *("SOPInstanceUID", "SOP Instance UID", "dicom_id"),
)
LABEL_COLUMN = "Finding Labels"
NO_FINDING = ("No Finding", "No finding", "no finding", "no_finding", "NoFinding", "Normal")
MAX_BYTES = 2**30

_VALUES = {"1": 1.0, "0": 0.0, "-1": float("nan"), "": float("nan")}
_VALUES |= {"1.0": 1.0, "0.0": 0.0, "-1.0": float("nan")}


@dataclass(frozen=True, eq=False)
class Labels:
    """``images`` (N) as the table writes them, and ``values`` (N, L) float32: 1, 0 or NaN."""

    names: tuple[str, ...]
    images: tuple[str, ...]
    values: np.ndarray

    @property
    def no_finding(self) -> str | None:
        """The label that is not a finding, if there is one."""
        return next((name for name in self.names if name in NO_FINDING), None)


@dataclass(frozen=True)
class Columns:
    """How the table is to be read; what is empty is found by the usual names and values."""

    image: str = ""
    findings: str = ""
    joined: str = ""
    separator: str = "|"


def read_labels(path: Path, columns: Columns) -> Labels:
    """Read and check the table. Cells that may name a file are not quoted in errors.

    Raises
    ------
    DataError : it cannot be read, a column is missing, a cell is no label, or an image comes twice.
    """
    header, rows = _rows(path)
    image = _column(header, columns.image, IMAGE_COLUMNS, path, "images", "image_column")
    images = tuple(row[image].strip().replace("\\", "/") for row in rows)
    _check_images(images, path)
    joined = columns.joined or (LABEL_COLUMN if LABEL_COLUMN in header else "")
    if joined:
        place = _column(header, joined, (), path, "labels", "label_column")
        names, values = _joined([row[place] for row in rows], columns.separator)
    else:
        names, values = _separate(header, rows, columns.findings, image, path)
    if not names:
        raise DataError(
            f"{path} has no labels",
            expected=f"a column for each finding with 1, 0, -1 or nothing, or {LABEL_COLUMN!r}",
            found=f"the columns {', '.join(header)}",
            fix="name the columns: findings=A|B|C, or label_column=NAME",
        )
    return Labels(names, images, values)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise OSError("larger than 1 GiB")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"the table of labels {path} cannot be read",
            expected="a CSV file in UTF-8, with a header",
            found=getattr(error, "strerror", None) or type(error).__name__,
            fix="check labels=TABLE.csv, and that path and table may be read",
        ) from None
    if len(rows) < 2:
        raise DataError(f"{path} has no rows", expected="a header, and a row for each image below")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise DataError(
                f"row {number} of {path} does not fit the header",
                expected=f"{len(header)} cells",
                found=f"{len(row)} cells",
                fix="correct that row; a cell that holds a comma belongs in quotes",
            )
    return header, rows[1:]


def _column(
    header: Sequence[str],
    named: str,
    usual: Sequence[str],
    path: Path,
    what: str,
    option: str,
) -> int:
    wanted = (named,) if named else usual
    found = next((name for name in wanted if name in header), None)
    if found is None:
        raise DataError(
            f"{path} has no column of {what}",
            expected=" or ".join(map(repr, wanted)),
            found=f"the columns {', '.join(header)}",
            fix=f"name it: {option}=NAME",
        )
    if header.count(found) > 1:
        raise DataError(f"{path} has the column {found!r} {header.count(found)} times")
    return header.index(found)


def _check_images(images: Sequence[str], path: Path) -> None:
    seen: dict[str, int] = {}
    for number, image in enumerate(images, 2):
        if not image or image in seen:
            other = f"the same image as row {seen[image]}" if image else "nothing"
            raise DataError(
                f"row {number} of {path} does not name an image of its own",
                expected="a file or a SOP Instance UID, in one row only",
                found=other,
                fix="correct or delete that row",
            )
        seen[image] = number


def _joined(cells: Sequence[str], separator: str) -> tuple[tuple[str, ...], np.ndarray]:
    """An empty cell says nothing: all its labels are unknown."""
    import numpy as np

    lists = [[name.strip() for name in cell.split(separator) if name.strip()] for cell in cells]
    names = sorted({name for found in lists for name in found}, key=lambda n: (n in NO_FINDING, n))
    places = {name: place for place, name in enumerate(names)}
    values = np.zeros((len(cells), len(names)), np.float32)
    for row, found in enumerate(lists):
        values[row, [places[name] for name in found]] = 1
        if not found:
            values[row] = np.nan
    return tuple(names), values


def _separate(
    header: Sequence[str], rows: Sequence[Sequence[str]], findings: str, image: int, path: Path
) -> tuple[tuple[str, ...], np.ndarray]:
    import numpy as np

    if findings:
        wanted = [name.strip() for name in findings.split("|")]
        places = [_column(header, name, (), path, "labels", "findings") for name in wanted]
    else:
        places = [place for place in range(len(header)) if place != image and _all(rows, place)]
    values = np.empty((len(rows), len(places)), np.float32)
    for column, place in enumerate(places):
        for number, row in enumerate(rows):
            cell = row[place].strip()
            if cell not in _VALUES:
                raise DataError(
                    f"row {number + 2} of {path} has no label in {header[place]!r}",
                    expected="1 (present), 0 (absent), -1 or nothing (unknown)",
                    found="something else",
                    fix="correct that cell, or name other columns: findings=A|B|C",
                )
            values[number, column] = _VALUES[cell]
    return tuple(header[place] for place in places), values


def _all(rows: Sequence[Sequence[str]], place: int) -> bool:
    cells = {row[place].strip() for row in rows}
    return cells <= _VALUES.keys() and bool(cells & {"0", "1", "0.0", "1.0"})
