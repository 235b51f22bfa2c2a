"""From what a user types to rows and runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_conditions import conditions

from cxrbench.errors import RunError
from cxrbench.runs.run import Run, read_runs
from cxrbench.runs.selection import find_pair, find_row, find_seeds, group_rows, with_recipes

FUSED = "tinynet+grid+rows:words=8"


def names(row):
    return [run.name for run in row]


@pytest.mark.parametrize(
    "text",
    [
        FUSED,
        "rows:words=8+GRID+tinynet",
        "tinynet+grid+rows:words=8@concat",
        "tinynet+rows:words=8,encoding=bow+grid",
    ],
)
def test_every_spelling_of_a_recipe_names_the_same_row(grid, text):
    row = find_row(text, grid.runs)
    assert names(row) == [grid.run_of(FUSED, seed).name for seed in (0, 1)]


def test_an_alias_names_the_part(tmp_path, grid):
    path = shutil.copytree(grid.run_of("grid"), tmp_path / "one")
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "recipe": "resnet50+orb"}))
    assert names(find_row("orb:nfeatures=500+resnet", tmp_path)) == ["one"]


def test_a_recipe_whose_plugin_is_missing_is_found_by_its_text(tmp_path, grid):
    path = shutil.copytree(grid.run_of("grid"), tmp_path / "one")
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "recipe": "gone:units=3"}))
    assert names(find_row("gone:units=3", tmp_path)) == ["one"]
    with pytest.raises(RunError, match="no run and no recipe 'gone'"):
        find_row("gone", tmp_path)


def test_a_run_directory_is_a_path_or_a_name(grid, monkeypatch):
    path = grid.run_of("grid", 1)
    assert names(find_row(str(path), Path("nowhere"))) == [path.name]
    assert names(find_row(path.name, grid.runs)) == [path.name]
    # A folder that has the name of a recipe is no run.
    monkeypatch.chdir(grid.folder)
    (grid.folder / "grid").mkdir()
    assert len(find_row("grid", grid.runs)) == 2


def test_the_nearest_recipe_is_proposed(grid):
    with pytest.raises(RunError, match="Did you mean 'tinynet'") as error:
        find_row("tinynett", grid.runs)
    assert "grid, prior, tinynet" in str(error.value)


def test_a_recipe_is_all_its_seeds_or_one(grid):
    assert [run.path for run in find_seeds("grid", grid.runs, 1)] == [grid.run_of("grid", 1)]
    assert names(find_seeds("prior", grid.runs)) == [grid.run_of("prior").name]
    assert names(find_seeds("grid", grid.runs)) == [grid.run_of("grid", s).name for s in (0, 1)]
    path = grid.run_of("grid", 1)  # a directory is one run
    assert names(find_seeds(str(path), grid.runs)) == [path.name]
    with pytest.raises(RunError, match="'grid' names no runs of seed 7") as error:
        find_seeds("grid", grid.runs, 7)
    assert "the seeds 0, 1" in str(error.value)


def test_a_pair_is_of_the_board_that_has_both(tmp_path, grid):
    for recipe in ("grid", "tinynet"):
        run = grid.run_of(recipe, 0)
        shutil.copytree(run, tmp_path / run.name)
    other = shutil.copytree(grid.run_of("grid", 0), tmp_path / "other-board")
    info = json.loads((other / "run.json").read_text())
    changes = {"board_key": "other", "row_key": "other", "run_key": "other"}
    (other / "run.json").write_text(json.dumps({**info, **changes}))
    with pytest.raises(RunError, match="2 rows have the recipe 'grid'"):
        find_row("grid", tmp_path)
    a, b = find_pair("grid", "tinynet", tmp_path)
    assert names(a) + names(b) == [grid.run_of(name, 0).name for name in ("grid", "tinynet")]
    with pytest.raises(RunError, match="not scored on the same test images"):
        find_pair("other-board", "tinynet", tmp_path)
    with pytest.raises(RunError, match="2 rows have the recipe 'grid'"):
        find_pair("grid", "grid", tmp_path)


def stored(name, **changes):
    return Run(Path(name), conditions(**changes))


def test_a_board_has_one_prior_and_that_is_the_one_with_validation_images():
    runs = [
        stored("a", recipe="prior", row_key="1", board_key="x", finished="3"),
        stored("b", recipe="prior", row_key="2", board_key="x", val_images=9, finished="1"),
        stored("c", recipe="prior", row_key="3", board_key="x", val_images=9, finished="2"),
        stored("d", recipe="prior", row_key="1", board_key="y"),
        stored("f", recipe="orb", row_key="4", board_key="x", seed=1),
        stored("e", recipe="orb", row_key="4", board_key="x"),
    ]
    for some in (runs, runs[::-1]):
        assert sorted(map(names, group_rows(some))) == [["c"], ["d"], ["e", "f"]]


def test_recipes_are_chosen_in_any_spelling_or_by_a_pattern_and_priors_stay(grid):
    runs, _ = read_runs(grid.runs)

    def recipes(*patterns):
        return {run.conditions.recipe for run in with_recipes(patterns, runs)}

    assert recipes("rows:words=8+GRID+tinynet") == {FUSED, "prior"}
    assert recipes("tinynet*") == {r.conditions.recipe for r in runs if "tiny" in r.name} | {
        "prior"
    }
    with pytest.raises(RunError, match="no run has the recipe 'grd'") as error:
        recipes("grid", "grd")
    assert "grid" in error.value.fix


def test_a_recipe_means_a_smoke_test_only_where_there_is_nothing_else(grid, tmp_path):
    for name, limit in (("whole", None), ("smoke", 50)):
        path = shutil.copytree(grid.run_of("grid"), tmp_path / name)
        info = json.loads((path / "run.json").read_text())
        info |= {"settings": {**info["settings"], "limit": limit}, "row_key": name}
        info["run_key"] = 64 * name[0]
        (path / "run.json").write_text(json.dumps(info))
    assert names(find_row("grid", tmp_path)) == ["whole"]
    shutil.rmtree(tmp_path / "whole")
    assert names(find_row("grid", tmp_path)) == ["smoke"]
