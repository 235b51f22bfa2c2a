"""Careful reading of NIH's text files: plain or gzip, any usual encoding and separator."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrbench import DataError

MAX_BYTES = 256 * 2**20
"""A text file larger than this (unpacked) is refused; NIH's whole table has 8 MB."""

_SEPARATORS = (",", ";", "\t")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\f\r\x1a"))


@dataclass(frozen=True)
class Rows:
    """A table as text. ``rows`` can be read once: (line in the file, cells)."""

    header: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]
    notes: tuple[str, ...]


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of ``names`` that is in the folder, as it is or with ``.gz``."""
    for name in names:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if os.path.exists(candidate):  # Path.exists raises where the folder is locked
                return candidate
    return None


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """A text file's content and notes on how it was read.

    UTF-8 (with or without a byte order mark) and UTF-16 with one are read as such; other bytes
    are taken as Windows-1252, a superset of Latin-1, and noted.

    Raises
    ------
    DataError : the file cannot be opened, is too large, or holds no text.
    """
    data = _read_bytes(path)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not wide and _is_binary(data):
        raise _not_text(path, data)
    try:
        return data.decode("utf-16" if wide else "utf-8-sig"), ()
    except UnicodeDecodeError as error:
        if wide:
            raise _not_text(path, data) from error
        note = f"{path.name} is not UTF-8; it was read as Windows-1252 (Latin-1)"
        return data.decode("cp1252", errors="replace"), (note,)


def read_rows(path: Path) -> Rows:
    """A CSV file's header and rows; the rows are parsed as they are taken, for speed and memory.

    The separator is whichever of comma, semicolon and tab the header has most of. Empty rows are
    left out, and so are empty cells beyond the header (NIH's 2017 edition ends each line with a
    comma).

    Raises
    ------
    DataError : no text, no header; while rows are taken, open quotes or a row of another width.
    """
    text, notes = read_text(path)
    lines = parse_csv(text, path)
    _, first = next(lines, (0, [""]))
    header = tuple(cell.strip() for cell in first)
    while header and not header[-1]:
        header = header[:-1]
    if not header:
        raise DataError(
            f"{path} is empty.",
            expected="a header and one row per image",
            found=f"{len(text)} characters, none of them in a row",
            fix="download or export the table again",
        )
    return Rows(header, (_fitted(row, header, line, path) for line, row in lines), notes)


def parse_csv(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that holds anything, after its line in the file; ``path`` is for the error."""
    first = "".join(text.lstrip()[:4096].splitlines()[:1])
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            if row and (row[0].strip() or any(map(str.strip, row))):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(
            f"{path} is no CSV file at line {reader.line_num}.",
            expected='rows of cells, where a cell that is opened with " is closed with "',
            found=str(error),
            fix="correct that line, or download the file again if it was cut off",
        ) from error


def _read_bytes(path: Path) -> bytes:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read.",
            expected="a file that this user may read" + (", packed by gzip" * (opener is not open)),
            found=f"{type(error).__name__}: {error}",
            fix="check its permissions (chmod u+r), or download it again if it is damaged",
        ) from error
    if len(data) > MAX_BYTES:
        raise DataError(
            f"{path} is too large.",
            expected=f"at most {MAX_BYTES // 2**20} MiB of text",
            found="more than that" + (" once unpacked" * (opener is not open)),
            fix="check that this is NIH's file; NIH's whole table has 8 MB",
        )
    return data


def _is_binary(data: bytes) -> bool:
    return len(data.translate(None, _CONTROL)) < len(data)


def _not_text(path: Path, data: bytes) -> DataError:
    return DataError(
        f"{path} is not a text file.",
        expected="text, one row per line",
        found=f"binary data that begins with {data[:8]!r}",
        fix="export the table as CSV (a spreadsheet saved as .xlsx and renamed is not one)",
    )


def _fitted(
    row: list[str], header: tuple[str, ...], line: int, path: Path
) -> tuple[int, list[str]]:
    width = len(header)
    if len(row) < width or any(map(str.strip, row[width:])):
        raise DataError(
            f"Line {line} of {path} does not fit the header.",
            expected=f"{width} cells: {', '.join(header)}",
            found=f"{len(row)} cells: {', '.join(row[:12])}",
            fix="correct that line (the file may have been cut off there)",
        )
    return line, row
