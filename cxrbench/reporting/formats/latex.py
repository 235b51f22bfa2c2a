"""Sections of tables for a LaTeX document, by the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cxrbench.reporting.cells import CellTable, Section

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


def latex_tables(sections: Sequence[Section]) -> str:
    """A ``table`` for each section, with its title as the caption and its notes below."""
    head = "% \\usepackage{booktabs} \\usepackage[T1]{fontenc}\n"
    return head + "\n".join(map(_section, sections))


def _section(section: Section) -> str:
    tables = "\n\n\\medskip\n".join(map(_tabular, section.tables))
    notes = "".join(f"\n\n\\medskip\n{{\\footnotesize {escaped(n)}\\par}}" for n in section.notes)
    return (
        "\\begin{table}\n\\centering\n\\small\n"
        f"\\caption{{{escaped(section.title)}}}\n{tables}{notes}\n\\end{{table}}\n"
    )


def _tabular(table: CellTable) -> str:
    kinds = "".join("l" if column.is_text else "r" for column in table.columns)
    head = _line([column.name for column in table.columns])
    rows = "\n".join(map(_line, table.rows))
    return (
        f"\\begin{{tabular}}{{{kinds}}}\n\\toprule\n{head}\n\\midrule\n{rows}\n"
        "\\bottomrule\n\\end{tabular}"
    )


def _line(cells: Sequence[str]) -> str:
    line = " & ".join(map(escaped, cells)) + r" \\"
    # A bracket or star after the end of a line would be read as an option of that end.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def escaped(text: str) -> str:
    """The text as LaTeX shows it, on one line."""
    minus = _MINUS.sub("−", " ".join(text.split()))
    return "".join(_WRITTEN.get(character, character) for character in minus)
