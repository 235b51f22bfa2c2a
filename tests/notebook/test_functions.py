"""Boards, comparisons, figures and predictions from Python."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import cxrbench
from cxrbench import CxrbenchError
from cxrbench.output import display
from cxrbench.output.display import LineDisplay, SilentDisplay, notebook_display


def test_a_board_is_that_of_the_command_and_a_data_frame(cli, grid):
    board = cxrbench.leaderboard(grid.runs)
    said = json.loads(cli("leaderboard", "--runs", grid.runs, "--json").out)
    table = board.to_pandas()
    rows = said["boards"][0]["rows"]
    assert list(table["recipe"]) == [row["recipe"] for row in rows]
    assert list(table["macro_auroc"]) == [row["macro_auroc"] for row in rows]
    assert "<table>" in board._repr_html_()
    (filtered,) = cxrbench.leaderboard(grid.runs, recipes=["grid"], sort="recipe").boards
    assert [row.recipe for row in filtered.rows] == ["grid", "prior"]


def test_two_rows_are_compared(grid):
    comparison = cxrbench.compare("tinynet", "grid", runs=grid.runs)
    table = comparison.to_pandas()
    assert table["score"][0] == "macro_auroc"
    assert table["difference"][0] == pytest.approx(table["a"][0] - table["b"][0])


def test_figures_are_matplotlib_figures_by_name(grid, tmp_path):
    drawn = cxrbench.figures("grid", "prior", runs=grid.runs, only=["roc", "forest"])
    assert list(drawn) == ["roc", "forest"]
    drawn["roc"].savefig(tmp_path / "roc.pdf")
    assert (tmp_path / "roc.pdf").read_bytes().startswith(b"%PDF")


def test_predictions_are_those_of_the_command(cli, grid, drawn_films):
    images = sorted(drawn_films.rglob("*.png"))[:3]
    table = cxrbench.predict("tinynet", images, runs=grid.runs, seed=0)
    said = cli("predict", grid.run_of("tinynet"), *images, "--json")
    expected = json.loads(said.out)["predictions"]
    assert list(table["image"]) == [row["image"] for row in expected]
    for label in table.columns[1:-1]:
        values = [row[f"y_score_{label}"] for row in expected]
        assert np.allclose(table[label], values, atol=1e-6)
    assert table["error"].isna().all()


def test_a_recipe_is_the_mean_of_its_seeds(grid, drawn_films):
    images = sorted(drawn_films.rglob("*.png"))[:2]
    table = cxrbench.predict("grid", images, runs=grid.runs)
    labels = list(cxrbench.predict("grid", images, runs=grid.runs, seed=0).columns[1:-1])
    for label in labels:
        both = table[[f"seed{seed}_{label}" for seed in (0, 1)]]
        assert np.allclose(table[label], both.mean(axis=1), atol=1e-6)
    assert len(table.columns) == 3 * len(labels) + 2
    assert list(cxrbench.predict("grid", [], runs=grid.runs).columns) == list(table.columns)


def test_an_image_that_cannot_be_read_is_a_row_with_the_reason(grid, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    table = cxrbench.predict("tinynet", tmp_path / "broken.png", runs=grid.runs, seed=0)
    assert table["error"][0]
    assert table[table.columns[1]].isna().all()


def test_images_are_explained(grid, drawn_films, tmp_path):
    image = min(drawn_films.rglob("*.png"))
    options = {"runs": grid.runs, "seed": 0, "output": tmp_path}
    result = cxrbench.explain("tinynet", image, **options)
    assert result.succeeded
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]


def test_errors_are_those_of_the_commands(grid):
    with pytest.raises(CxrbenchError, match="no run and no recipe"):
        cxrbench.compare("gird", "grid", runs=grid.runs)
    with pytest.raises(CxrbenchError, match="names no runs of seed 7"):
        cxrbench.predict("grid", [], runs=grid.runs, seed=7)


def test_progress_is_shown_in_a_kernel_alone(monkeypatch, capsys):
    assert isinstance(notebook_display(), SilentDisplay)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(display, "find_spec", lambda name: None)
    shown = notebook_display()
    assert isinstance(shown, LineDisplay)
    assert 'pip install "cxrbench[notebook]"' in capsys.readouterr().err
    monkeypatch.setattr(display, "find_spec", lambda name: name)
    assert isinstance(notebook_display(), display.RichDisplay)
