"""The reader of all tables: the columns of a CSV file as text, checked row by row.

What is written in a file is quoted by ``found`` of an error alone: a dataset whose tables may
identify patients can tell the rest.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.data import record_cells
from cxrbench.data.files import read_encoded
from cxrbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np


_SEPARATORS = (",", ";", "\t")
_EXCEL = re.compile(r"sep=([,;\t])")
_SHOWN = 200
"""Most characters of a header or row in a message."""


@dataclass(frozen=True)
class Columns:
    """Some columns of a table as text without blanks around it, all of one length.

    ``cells`` has a list for each column that was found, by the key that it was asked for with;
    ``titles`` has the header's text for it. ``lines`` are the rows' lines in the file.
    """

    path: Path
    lines: list[int]
    titles: Mapping[str, str]
    cells: Mapping[str, list[str]]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def require(self, key: str) -> list[str]:
        """The cells of a column in which none is blank.

        Raises
        ------
        DataError : one is; says in which line.
        """
        column = self.cells[key]
        if "" in column:
            title = self.titles[key]
            raise DataError(
                f"Line {self.lines[column.index('')]} of {self.path} has no {title}",
                expected=f"a {title} in every row",
                found=f"{column.count(''):,} rows without",
                fix="fill in or delete those rows (the file may have been cut off there)",
            )
        return column

    def ages(self, key: str = "age") -> tuple[np.ndarray, tuple[str, ...]]:
        """Years (N,) float32 from ``58``, ``058Y`` or ``006M``; NaN where unknown; and notes.

        Ages above 120 years and what is no age are unknown, and noted. All are where there is no
        such column.
        """
        return record_cells.ages(self._column(key))

    def sexes(self, key: str = "sex") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """``F``, ``M`` or ``""`` (unknown) for each row, and notes."""
        return record_cells.sexes(self._column(key))

    def views(self, key: str = "view") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """``PA``, ``AP`` or ``""`` (unknown) for each row, and notes."""
        return record_cells.views(self._column(key))

    def take(self, rows: Sequence[int]) -> Columns:
        """The same columns with these rows only, in this order."""
        return replace(
            self,
            lines=[self.lines[row] for row in rows],
            cells={key: [column[row] for row in rows] for key, column in self.cells.items()},
        )

    def without_repeats(
        self, ids: Sequence[str], same: Sequence[str], *, separator: str = "|"
    ) -> Columns:
        """The first row of each image; that others were dropped is noted.

        Parameters
        ----------
        ids : (N,) the image of each row.
        same : keys of the columns in which an image's rows have to agree. Cells that hold several
            names, joined by ``separator``, agree in any order.

        Raises
        ------
        DataError : they do not; says in which lines.
        """
        if len(set(ids)) == len(ids):
            return self
        first: dict[str, int] = {}
        for row, image_id in enumerate(ids):
            known = first.setdefault(image_id, row)
            if known != row:
                self._refuse_conflict(image_id, known, row, same, separator)
        dropped = len(ids) - len(first)
        note = f"{self.path.name}: dropped {dropped:,} rows that repeat another row"
        return replace(self.take(list(first.values())), notes=(*self.notes, note))

    def _column(self, key: str) -> list[str]:
        column = self.cells.get(key)
        return [""] * len(self) if column is None else column

    def _refuse_conflict(
        self, image_id: str, first: int, again: int, same: Sequence[str], separator: str
    ) -> None:
        for key in same:
            if key not in self.cells:
                continue
            one, other = self.cells[key][first], self.cells[key][again]
            if one != other and _names(one, separator) != _names(other, separator):
                raise DataError(
                    f"Lines {self.lines[first]} and {self.lines[again]} of {self.path} disagree "
                    "about one image",
                    expected="one row per image, or rows that say the same",
                    found=f"{shortened(image_id)}: {self.titles[key]} {shortened(repr(one))} in "
                    f"line {self.lines[first]}, {shortened(repr(other))} in line "
                    f"{self.lines[again]}",
                    fix="correct the row that is wrong; or, in a table with a row for each finding "
                    "or reader, join them: rows=any, majority or all (datasets csv and dicom)",
                )


@dataclass(frozen=True)
class Table:
    """A table whose rows can be taken once: (line in the file, cells as they are written)."""

    path: Path
    header: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]
    notes: tuple[str, ...]

    def places(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Where each wanted column is, by its key; a key without a column is left out.

        ``wanted`` has what each column may be called, in small or capital letters; the first name
        that the header has is used.

        Raises
        ------
        DataError : the header has that name twice.
        """
        lowered = [title.lower() for title in self.header]
        place_of = {}
        for key, names in wanted.items():
            name = next((n for n in names if n.strip().lower() in lowered), None)
            if name is None:
                continue
            places = [i for i, text in enumerate(lowered) if text == name.strip().lower()]
            if len(places) > 1:
                raise DataError(
                    f"{self.path} has two columns for {name!r}",
                    expected="one column of that name",
                    found=f"it appears {len(places)} times: {self._header_text()}",
                    fix="delete or rename the wrong one",
                )
            place_of[key] = places[0]
        return place_of

    def columns(
        self, wanted: Mapping[str, Sequence[str]], *, required: Sequence[str] = ()
    ) -> Columns:
        """Read the rest of the table, and keep the wanted columns, see `places`.

        Raises
        ------
        DataError : a required column is missing, there are no rows, or one does not fit.
        """
        places = self.places(wanted)
        for key in required:
            if key not in places:
                raise self.missing_column(wanted[key])
        lines: list[int] = []
        cells: dict[str, list[str]] = {key: [] for key in places}
        known: dict[str, str] = {}
        keep = known.setdefault  # one text of each kind: most cells of a table are alike
        targets = [(cells[key].append, place) for key, place in places.items()]
        for line, row in self.rows:
            lines.append(line)
            for append, place in targets:
                text = row[place].strip()
                append(keep(text, text))
        if not lines:
            raise DataError(
                f"{self.path} has a header but no rows",
                expected="one row per image below the header",
                found=f"the columns {self._header_text()}, 0 rows",
                fix="download or export the table again",
            )
        titles = {key: self.header[place] for key, place in places.items()}
        return Columns(self.path, lines, titles, cells, self.notes)

    def missing_column(self, names: Sequence[str], fix: str | None = None) -> DataError:
        """The error for a table without a column of these names."""
        near = difflib.get_close_matches(names[0], self.header, n=1)
        hint = f" (is it {near[0]!r}?)" if near else ""
        return DataError(
            f"{self.path} has no column {names[0]!r}",
            expected=f"a column called {' or '.join(map(repr, names))}",
            found=f"the columns {self._header_text()}{hint}",
            fix=fix or f"name the column {names[0]!r}, or use the table that has it",
        )

    def _header_text(self) -> str:
        return shortened(", ".join(map(repr, self.header)))


def read_table(path: Path, *, fit: bool = True, misfits: list[DataError] | None = None) -> Table:
    """A CSV file's header and rows; the rows are parsed as they are taken, for speed and memory.

    `read_text` describes how text is read. The separator is whichever of comma, semicolon and tab
    the header has most of. Empty rows are left out, and so are empty cells beyond the header (NIH's
    2017 edition ends each line with a comma) and the last columns that have no heading. With
    ``fit=False`` rows are as wide as they are. ``misfits`` takes the errors of rows that do not fit
    the header; these rows are left out.

    Raises
    ------
    DataError : no text, no header; while rows are taken, open quotes, a cell of more than 131,072
        characters, or, without ``misfits``, a row that does not fit the header.
    """
    encoded = read_encoded(path)
    # Decoded line by line: an io.StringIO would hold four bytes for each character.
    text = io.TextIOWrapper(io.BytesIO(encoded.data), encoded.encoding, "replace", newline="")
    lines = _parsed(text, _separator(encoded.data, encoded.encoding), path)
    _, first = next(lines, (0, [""]))
    if first[0] == "sep=":  # Excel's line before the header, which names the separator
        _, first = next(lines, (0, [""]))
    header = tuple(cell.strip() for cell in first)
    while header and not header[-1]:
        header = header[:-1]
    if not header:
        raise DataError(
            f"{path} is empty",
            expected="a header and one row per image",
            found=f"{len(encoded.data)} characters, none of them in a row",
            fix="download or export the table again",
        )
    rows = _fitted(lines, header, len(first), path, misfits) if fit else lines
    return Table(path, header, rows, encoded.notes)


def shortened(text: str) -> str:
    """The text, cut where a message about it would be too long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_UNNAMED = re.compile(r"(unnamed: [0-9]+(\.[0-9]+|_level_[0-9]+)*)?", re.IGNORECASE)


def has_no_name(title: str) -> bool:
    """Whether a column has no heading, or the one that pandas gives to such a column."""
    return _UNNAMED.fullmatch(title) is not None


def _names(text: str, separator: str) -> set[str]:
    return {name.strip() for name in text.split(separator)}


def _separator(data: bytes, encoding: str) -> str:
    start = data[: 2**14].decode(encoding, errors="replace").lstrip()
    header = re.sub(r'"[^"]*"', "", "".join(start.splitlines()[:1]))
    if excel := _EXCEL.fullmatch(header):
        return excel[1]
    return max(_SEPARATORS, key=header.count)


def _parsed(text: io.TextIOWrapper, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that holds anything, after its line in the file."""
    reader = csv.reader(text, delimiter=separator, strict=True)
    try:
        for row in reader:
            if row and (row[0].strip() or any(map(str.strip, row))):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(
            f"{path} is no table at line {reader.line_num} (no CSV file, or one that was cut off)",
            expected='rows of cells, where a cell that is opened with " is closed with "',
            found=str(error),
            fix="correct that line, or download the file again if it was cut off",
        ) from error


def _fitted(
    rows: Iterator[tuple[int, list[str]]],
    header: tuple[str, ...],
    most: int,
    path: Path,
    misfits: list[DataError] | None,
) -> Iterator[tuple[int, list[str]]]:
    """The rows of at least as many cells as the header, and nothing beyond ``most`` cells."""
    width = len(header)
    for line, row in rows:
        if len(row) == width or (len(row) > width and not any(map(str.strip, row[most:]))):
            yield line, row
            continue
        error = DataError(
            f"Line {line} of {path} does not fit the header",
            expected=f"{width} cells, as the header has",
            found=f"{len(row)} cells: {shortened(', '.join(row[:12]))}; "
            f"the header: {shortened(', '.join(header))}",
            fix=f"correct line {line} of {path.name}: it may have been cut off there, and a "
            "cell that holds the separator belongs in quotes",
        )
        if misfits is None:
            raise error
        misfits.append(error)


TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
"""How the name of a table ends, in small letters."""

JOINER = "+"
"""Joins several names in one option; a comma ends the option."""


def names_in(text: str) -> tuple[str, ...]:
    """The names in an option such as ``Mass+Nodule``."""
    return tuple(name.strip() for name in text.split(JOINER) if name.strip())
