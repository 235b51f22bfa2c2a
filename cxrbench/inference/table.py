"""A table of image paths, with age, sex and view where it has them; read row by row."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cxrbench.errors import DataError
from cxrbench.inference.new_image import NewImage, printable
from cxrbench.interfaces import Record

HEADINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("image", "Image Index", "path"),
        "age": ("age", "Patient Age"),
        "sex": ("sex", "Patient Sex", "Patient Gender"),
        "view": ("view", "View Position"),
    }
)
"""What a column may be called, in small or capital letters; the first that is there is used."""

MAX_AGE = 120.0

_SEPARATORS = (",", ";", "\t")
_AGE = re.compile(r"([0-9]+(?:\.[0-9]*)?)\s*([YMWD]?)", re.IGNORECASE)
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}
_VIEWS = ("PA", "AP")


def images_of_table(path: Path, *, column: str | None, images: Path | None) -> Iterator[NewImage]:
    """The image that each row names; relative paths are below ``images``, or beside the table.

    UTF-8 and UTF-16 (with a byte order mark) are read as such, other bytes as Windows-1252, a
    superset of Latin-1. The separator is whichever of comma, semicolon and tab the first line has
    most of. An age, sex or view that is none is unknown.

    Raises
    ------
    DataError : no text, no column of images, no rows, or a row that does not fit the header.
    """
    folder = path.parent if images is None else images
    rows = _rows(path)
    header = _without_blank_end(next(rows, _Row(0, ())).cells)
    places = _places(header, column, path)
    empty = True
    for row in rows:
        empty = False
        _require_width(row, header, path)
        cells = {key: row.cells[place].strip() for key, place in places.items()}
        yield NewImage(folder / cells["image"] if cells["image"] else None, _record(cells))
    if empty:
        raise DataError(
            f"{path} names no images",
            expected="a header, and one row per image below it",
            found=f"the columns {', '.join(header)}, 0 rows",
        )


@dataclass(frozen=True)
class _Row:
    line: int
    cells: Sequence[str]


def _rows(path: Path) -> Iterator[_Row]:
    """Every row that holds anything, the header first."""
    try:
        encoding, separator = _form(path)
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            for cells in reader:
                if any(map(str.strip, cells)):
                    yield _Row(reader.line_num, cells)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a table that this user may read",
            found=error.strerror or str(error),
            fix="check its permissions (chmod u+r)",
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path} is no table at line {reader.line_num}",
            expected='rows of cells, where a cell that is opened with " is closed with "',
            found=str(error),
            fix="correct that line",
        ) from error


def _form(path: Path) -> tuple[str, str]:
    """The encoding and the separator."""
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in start:
        raise DataError(
            f"{path} is not a text file",
            expected="a table as text: a header, and one row per image",
            found=f"binary data that begins with {start[:8]!r}",
            fix="export the table as CSV",
        )
    else:
        encoding = "utf-8-sig" if _is_utf8(path) else "cp1252"
    lines = start.decode(encoding, "replace").lstrip().splitlines()
    return encoding, max(_SEPARATORS, key=lines[0].count) if lines else ","


def _is_utf8(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            while file.read(2**20):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _places(header: Sequence[str], column: str | None, path: Path) -> dict[str, int]:
    lowered = [name.strip().lower() for name in header]
    wanted = {**HEADINGS, "image": HEADINGS["image"] if column is None else (column,)}
    found = {}
    for key, names in wanted.items():
        name = next((n.strip().lower() for n in names if n.strip().lower() in lowered), None)
        if name is None:
            continue
        if lowered.count(name) > 1:
            raise DataError(
                f"{path} has the column {name!r} {lowered.count(name)} times",
                expected="one column of that name",
                found=", ".join(header),
                fix="rename all of them but one",
            )
        found[key] = lowered.index(name)
    if "image" not in found:
        raise DataError(
            f"{path} has no column of image paths",
            expected=" or ".join(map(repr, wanted["image"])),
            found=printable(", ".join(header))[:200] or "an empty file",
            fix="name the column with --image-column",
        )
    return found


def _without_blank_end(cells: Sequence[str]) -> Sequence[str]:
    named = [place for place, cell in enumerate(cells, 1) if cell.strip()]
    return cells[: named[-1]] if named else ()


def _require_width(row: _Row, header: Sequence[str], path: Path) -> None:
    if len(row.cells) < len(header) or any(map(str.strip, row.cells[len(header) :])):
        raise DataError(
            f"line {row.line} of {path} does not fit the header",
            expected=f"{len(header)} cells: {', '.join(header)}",
            found=f"{len(row.cells)} cells: {', '.join(row.cells[:12])}",
            fix="correct that line; a cell that holds the separator belongs in quotes",
        )


def _record(cells: Mapping[str, str]) -> Record:
    view = cells.get("view", "").upper()
    return Record(
        image_id=printable(cells["image"]),
        age=_age(cells.get("age", "")),
        sex=_SEXES.get(cells.get("sex", "").upper()),
        view=view if view in _VIEWS else None,
    )


def _age(text: str) -> float | None:
    """Years, from a number or from DICOM's form such as ``045Y``."""
    match = _AGE.fullmatch(text)
    if match is None:
        return None
    years = float(match[1]) / _UNITS_PER_YEAR[match[2].upper()]
    return years if years <= MAX_AGE else None
