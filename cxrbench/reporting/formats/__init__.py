"""Sections of tables as documents: one module for each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from cxrbench.reporting.cells import Section
from cxrbench.reporting.formats.html import html_page
from cxrbench.reporting.formats.latex import latex_tables
from cxrbench.reporting.formats.markdown import markdown_text

WRITERS: Mapping[str, Callable[[Sequence[Section]], str]] = MappingProxyType(
    {"markdown": markdown_text, "html": html_page, "latex": latex_tables}
)
"""What writes each format that is a document of text."""
