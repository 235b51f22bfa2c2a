"""Sections: titles, tables of text cells and notes, which every output format shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


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
