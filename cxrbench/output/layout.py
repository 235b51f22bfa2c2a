"""Tables that are wider than a page or a terminal, split into several that fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.cells import cell_len

from cxrbench.output.sections import CellTable, Column

GAP = 2
"""Characters between two columns."""

# A name may end a line after one of these: recipes, paths and lists stay readable.
_BREAKS = re.compile(r"(?<=[+,:/_ ])")


def split_to_width(
    table: CellTable, width: int, *, size: Callable[[str], int] = cell_len
) -> tuple[CellTable, ...]:
    """The table itself where it fits ``width`` characters, or several that fit.

    Each of several begins with the columns that name a row: those up to the first text column,
    and the text columns that follow it at once. Names are folded after ``+``, ``,``, ``:``, ``/``,
    ``_`` and blanks, and only where they would take more than half of the width. A table of text
    columns alone is not split: its last columns are sentences, which fold between words.
    """
    sizes = [_size(table, place, size) for place in range(len(table.columns))]
    if _total(sizes) <= width or all(column.is_text for column in table.columns):
        return (table,)
    first = [column.is_text for column in table.columns].index(True)
    keys = first + 1
    while table.columns[keys].is_text if keys < len(table.columns) else False:
        keys += 1
    if keys == len(table.columns):
        keys = first + 1
    table = _names_folded(table, keys, width, sizes)
    sizes = [_size(table, place, size) for place in range(len(table.columns))]
    blocks: list[list[int]] = [[]]
    for place in range(keys, len(table.columns)):
        taken = [*range(keys), *blocks[-1], place]
        if blocks[-1] and _total([sizes[one] for one in taken]) > width:
            blocks.append([])
        blocks[-1].append(place)
    return tuple(_columns_of(table, [*range(keys), *block]) for block in blocks)


def _names_folded(table: CellTable, keys: int, width: int, sizes: Sequence[int]) -> CellTable:
    """The table with the names in its first ``keys`` columns folded where they need it."""
    names = [place for place in range(keys) if table.columns[place].is_text]
    others = _total([sizes[place] for place in range(keys) if place not in names])
    widest = max((sizes[place] for place in range(keys, len(sizes))), default=0)
    needed = _total([sizes[place] for place in names])
    free = max(width // 2, width - widest - GAP) - (others + GAP if others else 0)
    if needed <= free:
        return table
    room = max(12, (free - GAP * (len(names) - 1)) // len(names))
    rows = tuple(
        tuple(folded_name(cell, room) if place in names else cell for place, cell in enumerate(row))
        for row in table.rows
    )
    columns = tuple(
        replace(column, least=min(column.least, room)) if place in names else column
        for place, column in enumerate(table.columns)
    )
    return CellTable(columns, rows)


def folded_name(name: str, width: int) -> str:
    """The name in lines of at most ``width`` characters, broken after a separator if it has one."""
    lines = [""]
    for piece in _BREAKS.split(name):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _size(table: CellTable, place: int, size: Callable[[str], int]) -> int:
    column: Column = table.columns[place]
    cells = (line for row in table.rows for line in row[place].split("\n"))
    return max(size(column.name), column.least, max(map(size, cells), default=0))


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + GAP * max(0, len(sizes) - 1)


def _columns_of(table: CellTable, places: Sequence[int]) -> CellTable:
    rows = tuple(tuple(row[place] for place in places) for row in table.rows)
    return CellTable(tuple(table.columns[place] for place in places), rows)
