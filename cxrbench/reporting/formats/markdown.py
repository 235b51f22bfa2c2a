"""Sections of tables as Markdown, with tables as GitHub writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from cxrbench.reporting.cells import CellTable, Section

_SPECIAL = re.compile(r"[\\`*_~$<>|]|(?<=\])\(")


def markdown_text(sections: Sequence[Section]) -> str:
    """Each section with a heading, its tables, and its notes as a list."""
    return "\n\n".join(block for section in sections for block in _blocks(section)) + "\n"


def _blocks(section: Section) -> Iterator[str]:
    yield f"### {escaped(section.title)}"
    yield from map(_table, section.tables)
    if section.notes:
        yield "\n".join(f"- {escaped(note)}" for note in section.notes)


def _table(table: CellTable) -> str:
    rule = ("---" if column.is_text else "---:" for column in table.columns)
    head = (escaped(column.name) for column in table.columns)
    rows = (map(escaped, row) for row in table.rows)
    return "\n".join(map(_line, (head, rule, *rows)))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """The text as Markdown shows it, on one line, without any markup."""
    return _SPECIAL.sub(lambda found: f"\\{found.group()}", " ".join(text.split()))
