"""Sphinx: the documentation as a site, from the Markdown in this folder.

    pip install -e ".[docs]" && sphinx-build -W --keep-going -b html docs site

The pages are made to be read where the repository is, too: what a site needs besides, tables of
contents and links that stay inside it, is made here as they are read. A page that loads something
from elsewhere fails the build, so that the site can be read without a network.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

project = "cxrbench"
author = "The cxrbench developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["_build", "images/*"]
html_theme = "furo"
html_title = "cxrbench"
html_show_copyright = False
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False

_GENERATED = ["_generated/help", "_generated/api"]
_API = """# Docstrings

The public names, as their docstrings tell them. What an author needs to know of them is told in
[Python](../reference/python.md).

```{eval-rst}
.. automodule:: cxrbench
   :members:
   :imported-members:

.. automodule:: cxrbench.testing
   :members:
   :imported-members:
```
"""

_HERE = Path(__file__).parent
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+\.md)(#[^)]*)?\)")
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
# What a browser fetches by itself: not what <a> leads to.
_FETCHED = re.compile(
    r"""<(?:script|link|img|image|use|iframe|source|video|audio|object|embed)\b[^>]*?
            \s(?:src|href|xlink:href|srcset|data|poster)\s*=\s*["']?\s*(?:https?:)?//[^"'\s>]+
    |url\(\s*["']?(?:https?:)?//[^"')]+
    |(?:@import|\bimport|\bfrom|\bfetch)\s*\(?\s*["'`](?:https?:)?//[^"'`]+""",
    re.VERBOSE,
)


def _prepare(app: Any, name: str, source: list[str]) -> None:
    """Name files outside this folder instead of linking them; give the index its contents."""
    folder = posixpath.dirname(name)
    text = _LINK.sub(lambda link: _inside(link, folder), source[0])
    source[0] = text + _contents(text) if name == root_doc else text


def _inside(link: re.Match[str], folder: str) -> str:
    path = posixpath.normpath(posixpath.join("docs", folder, link[2]))
    if path.startswith("docs/"):
        return link[0]
    words = link[1].replace("`", "")
    return f"{words} (`{path}` in the repository)"


def _contents(index: str) -> str:
    """A hidden table of contents for each section, of the pages that it links."""
    titles = [match[1] for match in _SECTION.finditer(index)]
    made = []
    for title, section in zip(titles, _SECTION.split(index)[2::2], strict=True):
        pages = [link[2].removesuffix(".md") for link in _LINK.finditer(section)]
        inside = [page for page in dict.fromkeys(pages) if not page.startswith("..")]
        inside += _GENERATED if title == "Reference" else []
        if inside:
            body = "\n".join(inside)
            made.append(f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{body}\n```\n")
    return "".join(made)


def _generate(app: Any) -> None:
    """Write the pages that the program tells itself: the help of every command, the docstrings."""
    from typer import Context
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from cxrbench.cli.app import app as commands

    command = get_command(commands)
    context = Context(command, info_name="cxrbench")
    told = get_docs_for_click(obj=command, ctx=context, name="cxrbench", title="Help texts")
    (_HERE / "_generated").mkdir(exist_ok=True)
    for name, text in zip(_GENERATED, (told, _API), strict=True):
        page = _HERE / f"{name}.md"
        # Untouched where nothing changed, so that Sphinx need not read it again.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def fetched_from_elsewhere(text: str) -> list[str]:
    """What a page, style sheet or script makes a browser fetch from another machine."""
    return [" ".join(found[0].split()) for found in _FETCHED.finditer(text)]


def _require_self_contained(app: Any, failed: Exception | None) -> None:
    from sphinx.errors import ExtensionError

    if failed is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            for fetched in fetched_from_elsewhere(path.read_text(encoding="utf-8")):
                raise ExtensionError(f"{path} needs a network: {fetched}")


def setup(app: Any) -> None:
    """Register the three."""
    app.connect("builder-inited", _generate)
    app.connect("source-read", _prepare)
    app.connect("build-finished", _require_self_contained)
