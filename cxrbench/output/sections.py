"""Sections: titles, tables of text cells and notes, which every output format shows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Protocol


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of text that may be broken where there is no room.

    ``least`` is the width in characters that text keeps.
    """

    name: str
    is_text: bool = False
    least: int = 0


@dataclass(frozen=True)
class CellTable:
    """Rows of texts, one for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """Tables that belong together: what they are of, and what has to be said of them."""

    title: str
    tables: tuple[CellTable, ...]
    notes: tuple[str, ...] = ()


# Characters that a terminal obeys in place of showing them, and halves of characters.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def visible(text: str) -> str:
    """The text with escapes, such as ``\\x1b``, in place of characters that a terminal obeys.

    Names of files, labels and recipes can come from anybody. Tabs and ends of lines stay.
    """
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def visible_section(section: Section) -> Section:
    """The same section without characters that a terminal obeys; cells are single lines."""
    tables = tuple(
        CellTable(
            tuple(replace(column, name=visible_line(column.name)) for column in table.columns),
            tuple(tuple(map(visible_line, row)) for row in table.rows),
        )
        for table in section.tables
    )
    return Section(visible(section.title), tables, tuple(map(visible, section.notes)))


def visible_line(text: str) -> str:
    """As `visible`, with ends of lines as escapes too."""
    return visible(text).replace("\n", "\\n").replace("\t", " ")


def as_csv_cell(value: Any) -> Any:
    """A text that a spreadsheet would compute, such as ``=1+1``, with an apostrophe before it.

    Numbers stay as they are. `from_csv_cell` gives the text back.
    """
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def from_csv_cell(text: str) -> str:
    """The text that `as_csv_cell` wrote."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def text_column(name: str, least: int = 7) -> Column:
    """A column of text with room for its heading."""
    return Column(name, is_text=True, least=max(len(name), least))


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 check``, ``3 checks``; ``plural`` is for nouns that do not just take an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def number(value: float | None, spec: str) -> str:
    """A number in this format; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else format(value, spec)


class Interval(Protocol):
    """A value with its bounds, NaN where undefined."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def interval(estimate: Interval, spec: str = ".3f") -> str:
    """``value [low, high]``; the value alone where no interval can be given."""
    value = number(estimate.value, spec)
    if math.isnan(estimate.value) or math.isnan(estimate.low):
        return value
    return f"{value} [{number(estimate.low, spec)}, {number(estimate.high, spec)}]"


def count_or_unknown(count: int | None) -> str:
    """A count with separators of thousands, or ``unknown``."""
    return "unknown" if count is None else f"{count:,}"


def count_of_parameters(count: int | None, sign: str = "") -> str:
    """Millions from 100,000 up; a dash where it is not known."""
    if count is None:
        return "–"
    return f"{count / 1e6:{sign}.1f} M" if abs(count) >= 1e5 else f"{count:{sign},}"


def duration(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
