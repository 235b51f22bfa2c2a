"""Sections of tables as documents: HTML, LaTeX, Markdown and text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from types import MappingProxyType

from rich import box
from rich.console import Console
from rich.table import Table

from cxrbench.output.layout import split_to_width
from cxrbench.output.sections import CellTable, Column, Section

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
        f"<title>cxrbench</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>cxrbench</h1>\n{body}\n</body>\n</html>\n"
    )


def html_section(section: Section, *, level: int = 2) -> str:
    """A ``<section>`` with title, tables and notes; every text is escaped.

    ``level`` is that of its heading; without a title it has none.
    """
    tables = "\n".join(map(_html_table, section.tables))
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in section.notes)
    footer = f'<div class="notes">\n{notes}</div>\n' if notes else ""
    head = f"<h{level}>{escape(section.title)}</h{level}>\n" if section.title else ""
    return f"<section>\n{head}{tables}\n{footer}</section>"


def _html_table(table: CellTable) -> str:
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
    cells_html = "".join(
        f'<th scope="row"{style}>{escape(cell)}</th>'
        if place == names
        else f"<td{style}>{escape(cell)}</td>"
        for place, (cell, style) in enumerate(zip(cells, styles, strict=True))
    )
    return f"<tr>{cells_html}</tr>"


_WRITTEN: Mapping[str, str] = MappingProxyType(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{
            "<": r"\textless{}",
            ">": r"\textgreater{}",
            "|": r"\textbar{}",
            '"': r"\textquotedbl{}",
        },
        **{"–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$"},
        **{"…": r"\dots{}", "²": r"$^2$", "≥": r"$\geq$", "≤": r"$\leq$"},
    }
)
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")


# Characters of the size footnotesize that fit the text of an article on A4 paper.
_LATEX_WIDTH = 76


def latex_tables(sections: Sequence[Section]) -> str:
    """A ``table*`` for each table, with the title as the caption; the last has the notes below.

    Tables fit the text of an ``article`` on A4 paper, or both columns of a page with two: wide
    ones are split. Each has a ``\\label``, made of the title.
    """
    head = "% \\usepackage{booktabs} \\usepackage[T1]{fontenc}\n"
    labels = Counter[str]()
    floats = []
    for section in sections:
        label = "-".join(_WORD.findall(section.title.lower())[:8]) or "table"
        for place, table in enumerate(section.tables or (None,), start=1):
            labels[label] += 1
            of = f" ({place} of {len(section.tables)})" if len(section.tables) > 1 else ""
            number = f"-{labels[label]}" if labels[label] > 1 else ""
            notes = section.notes if place == max(1, len(section.tables)) else ()
            floats.append(_float(section.title + of, f"tab:{label}{number}", table, notes))
    return head + "\n".join(floats)


_WORD = re.compile(r"[a-z0-9]+")


def _float(caption: str, label: str, table: CellTable | None, notes: Sequence[str]) -> str:
    blocks = split_to_width(table, _LATEX_WIDTH) if table else ()
    texts = [*map(_tabular, blocks), *(f"{{\\sloppy {_latex_escaped(n)}\\par}}" for n in notes)]
    body = "\n\n\\medskip\n".join(texts)
    return (
        "\\begin{table*}[tp]\n\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n"
        f"\\caption{{{_latex_escaped(caption)}}}\n\\label{{{label}}}\n{body}\n\\end{{table*}}\n"
    )


def _tabular(table: CellTable) -> str:
    kinds = "".join("l" if column.is_text else "r" for column in table.columns)
    head = _latex_line([column.name for column in table.columns])
    rows = "\n".join(map(_latex_line, table.rows))
    return (
        f"\\begin{{tabular}}{{{kinds}}}\n\\toprule\n{head}\n\\midrule\n{rows}\n"
        "\\bottomrule\n\\end{tabular}"
    )


def _latex_line(cells: Sequence[str]) -> str:
    line = " & ".join(map(_latex_cell, cells)) + r" \\"
    # A bracket or star after the end of a line would be read as an option of that end.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def _latex_cell(cell: str) -> str:
    """A folded name is a stack of lines."""
    lines = r" \\ ".join(map(_latex_escaped, cell.split("\n")))
    return rf"\shortstack[l]{{{lines}}}" if "\n" in cell else lines


def _latex_escaped(text: str) -> str:
    """The text as LaTeX shows it, on one line."""
    minus = _MINUS.sub("−", " ".join(text.split()))
    return "".join(_WRITTEN.get(character, character) for character in minus)


_SPECIAL = re.compile(r"[\\`*_~$<>|]|(?<=\])\(")


def markdown_text(sections: Sequence[Section]) -> str:
    """Each section with a heading, its tables, and its notes as a list."""
    return "\n\n".join(block for section in sections for block in _blocks(section)) + "\n"


def _blocks(section: Section) -> Iterator[str]:
    yield f"### {_markdown_escaped(section.title)}"
    yield from map(_markdown_table, section.tables)
    if section.notes:
        yield "\n".join(f"- {_markdown_escaped(note)}" for note in section.notes)


def _markdown_table(table: CellTable) -> str:
    rule = ("---" if column.is_text else "---:" for column in table.columns)
    head = (_markdown_escaped(column.name) for column in table.columns)
    rows = (map(_markdown_escaped, row) for row in table.rows)
    return "\n".join(map(_markdown_line, (head, rule, *rows)))


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_escaped(text: str) -> str:
    """The text as Markdown shows it, on one line, without any markup."""
    return _SPECIAL.sub(lambda match: f"\\{match.group()}", " ".join(text.split()))


_BLANK = "\N{NO-BREAK SPACE}"
_QUOTED = re.compile(r"(?<![^\s=])'[^'\n]+'")


def print_section(console: Console, section: Section) -> None:
    """Print a section: its title, its tables with a line between, its notes."""
    _print_text(console, section.title)
    for table in section.tables:
        for fitting in split_to_width(table, console.width - 1):
            console.print()
            console.print(_rich(fitting))
    console.print()
    for note in section.notes:
        _print_text(console, note)
    if section.notes:
        console.print()


def _print_text(console: Console, text: str) -> None:
    """Lines of text: a terminal folds them between words, a file has them whole."""
    for line in text.splitlines():
        console.print(_folded(line, console.width) if console.is_terminal else line, soft_wrap=True)


def _folded(line: str, width: int) -> str:
    """``line`` in several, each below where it begins; long words and quoted text stay whole."""
    indent = " " * (len(line) - len(line.lstrip()))
    # A space within quotes does not end a word: '/data/my cohort' can still be copied.
    words = _QUOTED.sub(lambda match: match.group().replace(" ", _BLANK), line)
    lines = textwrap.wrap(
        words, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace(_BLANK, " ")


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


WRITERS: Mapping[str, Callable[[Sequence[Section]], str]] = MappingProxyType(
    {"markdown": markdown_text, "html": html_page, "latex": latex_tables}
)
"""What writes each format that is a document of text."""
