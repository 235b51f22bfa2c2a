"""Write the diagram of folders into the architecture page, from the import contract.

``python docs/images/make_layers_diagram.py`` reads the layers in ``pyproject.toml`` and the first
line of each folder and module, and replaces the block below ``<!-- layers -->`` in the page.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
_BLOCK = re.compile(r"(<!-- layers -->\n)```text\n.*?```", re.DOTALL)


def diagram() -> str:
    """A line for each folder or module, the highest layer first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [[name.strip() for name in layer.split("|")] for layer in layers]
    width = max(len(name) for layer in rooms for name in layer)
    blocks = ("\n".join(f"{name:{width}}  {first_line(name)}" for name in layer) for layer in rooms)
    return f"\n{'':{width}}  ▼\n".join(blocks)


def first_line(name: str) -> str:
    """What the folder or module of this name says it is for."""
    folder = ROOT / "cxrbench" / name
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text is not None, path
    return text.splitlines()[0].rstrip(".")


def with_diagram(page: str) -> str:
    """The text of the page with the diagram of today."""
    return _BLOCK.sub(lambda match: f"{match[1]}```text\n{diagram()}\n```", page)


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
