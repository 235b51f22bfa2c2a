"""Execute the cells of ``notebook.ipynb``, and write it with its outputs and the page of it.

    python docs/howto/make_notebook.py

Needs no Jupyter: cells are Python, apart from lines that begin with ``%``.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOTEBOOK, PAGE = HERE / "notebook.ipynb", HERE / "notebook.md"
IMAGE = HERE.parent / "images" / "notebook-forest.png"
_HEAD = "<!-- Written by make_notebook.py from notebook.ipynb. -->\n\n"
_DPI = 80


def executed(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of its cells, executed in order in the current folder."""
    names: dict[str, Any] = {}
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            value = _value(_source(cell), names)
            outputs = [] if value is None else [_output(value, number)]
            cell = {**cell, "execution_count": number, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _value(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line if that is an expression, as Jupyter shows it."""
    lines = [line for line in source.splitlines() if not line.startswith("%")]
    body = ast.parse("\n".join(lines)).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
    return (
        None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    )


def _output(value: Any, number: int) -> dict[str, Any]:
    data: dict[str, Any] = {"text/plain": _lines(repr(value))}
    if hasattr(value, "savefig"):
        file = io.BytesIO()
        value.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
        data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    elif hasattr(value, "sections"):  # a board or a comparison: its text is long
        data = {"text/html": _lines(value._repr_html_())}
    return {
        "output_type": "execute_result",
        "data": data,
        "execution_count": number,
        "metadata": {},
    }


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def page(notebook: dict[str, Any]) -> str:
    """The notebook as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = _source(cell)
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output["data"]
            if "image/png" in data:
                parts.append(f"![The figure of the cell](../images/{IMAGE.name})")
            elif "text/html" in data:
                parts.append("".join(data["text/html"]))
            else:
                parts.append(f"```text\n{''.join(data['text/plain'])}\n```")
    return _HEAD + "\n\n".join(parts) + "\n"


def image(notebook: dict[str, Any]) -> bytes:
    """The only figure."""
    (data,) = (
        output["data"]["image/png"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if "image/png" in output["data"]
    )
    return base64.b64decode(data)


if __name__ == "__main__":
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["CXRBENCH_CACHE"] = f"{folder}/cache"
        notebook = executed(notebook)
        os.chdir(HERE)
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    NOTEBOOK.write_text(f"{text}\n", encoding="utf-8")
    PAGE.write_text(page(notebook), encoding="utf-8")
    IMAGE.write_bytes(image(notebook))
