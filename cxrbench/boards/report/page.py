"""A report as one HTML file: no network, no script, light and dark, on screen and paper."""

from __future__ import annotations

import base64
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

from cxrbench.boards.report.content import Picture, Report
from cxrbench.errors import SettingsError
from cxrbench.output.files import Destination, write_text
from cxrbench.output.formats import html_section
from cxrbench.output.sections import Section

_REPORT = Destination("the report", SettingsError, "choose another file with --output")
_TEMPLATE = "report.html.jinja"
_SVG_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_ID = re.compile(r'\bid="([^"]*)"')
_IDS = re.compile(r'(\bid="|xlink:href="#|href="#|url\(#)')


def report_page(report: Report) -> str:
    """The HTML text of a report; every text in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["section"] = _section
    environment.filters["picture"] = _Pictures().html
    source = files("cxrbench.boards.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report)


def _section(section: Section) -> object:
    from markupsafe import Markup

    return Markup(html_section(section, level=3))  # which escapes every text itself


class _Pictures:
    """Puts pictures into one document: ids of several SVGs must not meet."""

    def __init__(self) -> None:
        self._count = 0

    def html(self, picture: Picture) -> object:
        """The picture as an element: SVG as it is, others as a data URL."""
        from markupsafe import Markup, escape

        if picture.kind == "svg":
            self._count += 1
            text = _SVG_HEAD.sub("", picture.data.decode("utf-8"), count=1)
            text = _once_each(_IDS.sub(rf"\g<1>p{self._count}-", text))
            return Markup(text.replace("<svg ", '<svg role="img" ', 1))
        data = base64.b64encode(picture.data).decode()
        alt = escape(picture.caption or picture.title)
        return Markup(f'<img alt="{alt}" src="data:image/{picture.kind};base64,{data}">')


def _once_each(svg: str) -> str:
    """Matplotlib names an image by its content, so that two alike in one figure share their id."""
    seen: Counter[str] = Counter()

    def rename(match: re.Match[str]) -> str:
        seen[match[1]] += 1
        count = seen[match[1]]
        return match[0] if count == 1 else f'id="{match[1]}-{count}"'

    return _ID.sub(rename, svg)


def write_report(report: Report, path: Path) -> None:
    """Write the page; it appears once it is whole.

    Raises
    ------
    SettingsError : it cannot be written there.
    """
    text = report_page(report)
    with _REPORT.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
