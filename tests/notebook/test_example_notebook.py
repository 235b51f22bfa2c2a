"""The notebook of the documentation: its page, and that its cells still run."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
NOTEBOOK = json.loads((HOWTO / "notebook.ipynb").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made():
    return runpy.run_path(str(HOWTO / "make_notebook.py"))


def outputs(notebook):
    return [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_page_and_its_figure_are_those_of_the_notebook(made):
    """`python docs/howto/make_notebook.py` writes them."""
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](NOTEBOOK)
    assert made["IMAGE"].read_bytes() == made["image"](NOTEBOOK)


def test_its_outputs_are_small_and_name_no_path_of_a_machine():
    text = json.dumps(outputs(NOTEBOOK))
    assert len(text) < 200_000
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", text)
    assert all(outputs(NOTEBOOK)[1:])


@pytest.mark.slow
def test_its_cells_run_and_give_outputs_of_the_same_kinds(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    again = made["executed"](NOTEBOOK)
    for before, after in zip(outputs(NOTEBOOK), outputs(again), strict=True):
        assert [one["data"].keys() for one in after] == [one["data"].keys() for one in before]
    recipes, before = (outputs(one)[1][0]["data"]["text/plain"] for one in (again, NOTEBOOK))
    assert sorted(eval(recipes[0])) == sorted(eval(before[0])) == ["orb", "prior", "sift"]
