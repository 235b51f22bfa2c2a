"""Sections of tables as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cxrbench.reporting.cells import CellTable, Column, Section

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { border-bottom: 1px solid #8885; padding: .3rem .7rem; text-align: right;
  vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 2px solid #888; }
tbody th { font-weight: normal; }
.text { overflow-wrap: break-word; text-align: left; white-space: normal; }
@media (max-width: 30rem) { body { font-size: 13px; } th, td { padding: .3rem .4rem; } }
.notes { color: GrayText; color: light-dark(#555, #aaa); font-size: .9rem; }
@media print { body { margin: 0; max-width: none; } .table { overflow: visible; } }
"""


def html_page(sections: Sequence[Section]) -> str:
    """A page with a heading for each section; it loads nothing and runs nothing."""
    body = "\n".join(map(html_section, sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>cxrbench leaderboard</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>cxrbench leaderboard</h1>\n{body}\n</body>\n</html>\n"
    )


def html_section(section: Section, *, level: int = 2) -> str:
    """A ``<section>`` with title, tables and notes; every text is escaped.

    ``level`` is that of its heading; without a title it has none.
    """
    tables = "\n".join(map(_table, section.tables))
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in section.notes)
    told = f'<div class="notes">\n{notes}</div>\n' if notes else ""
    head = f"<h{level}>{escape(section.title)}</h{level}>\n" if section.title else ""
    return f"<section>\n{head}{tables}\n{told}</section>"


def _table(table: CellTable) -> str:
    styles = [' class="text"' if column.is_text else "" for column in table.columns]
    head = "".join(
        f'<th scope="col"{style}{_least(column)}>{escape(column.name)}</th>'
        for column, style in zip(table.columns, styles, strict=True)
    )
    # What a row is of stands in its first column of text.
    names = [column.is_text for column in table.columns].index(True)
    rows = "\n".join(_row(row, styles, names) for row in table.rows)
    return (
        f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _least(column: Column) -> str:
    return f' style="min-width: {column.least}ch"' if column.is_text else ""


def _row(cells: Sequence[str], styles: Sequence[str], names: int) -> str:
    told = "".join(
        f'<th scope="row"{style}>{escape(cell)}</th>'
        if place == names
        else f"<td{style}>{escape(cell)}</td>"
        for place, (cell, style) in enumerate(zip(cells, styles, strict=True))
    )
    return f"<tr>{told}</tr>"
