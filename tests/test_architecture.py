"""The architecture page shows the import contract that CI holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docs" / "images" / "make_layers_diagram.py"


def test_the_diagram_is_that_of_the_contract() -> None:
    spec = importlib.util.spec_from_file_location("make_layers_diagram", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text(encoding="utf-8")
    assert "<!-- layers -->" in page
    assert script.with_diagram(page) == page, "run python docs/images/make_layers_diagram.py"
    assert "cli" in script.diagram().splitlines()[0]
