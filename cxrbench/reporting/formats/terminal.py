"""Sections of tables in a terminal, by rich."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from cxrbench.reporting.cells import CellTable, Section


def print_section(console: Console, section: Section) -> None:
    """Print a section: its title, its tables with a line between, its notes."""
    console.print(section.title)
    for table in section.tables:
        console.print()
        console.print(_rich(table))
    console.print()
    for note in section.notes:
        console.print(note)
    if section.notes:
        console.print()


def _rich(table: CellTable) -> Table:
    """Text folds where the table is too wide, and numbers do not."""
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for column in table.columns:
        if column.is_text:
            drawn.add_column(column.name, overflow="fold", min_width=column.least)
        else:
            drawn.add_column(column.name, justify="right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*row)
    return drawn
