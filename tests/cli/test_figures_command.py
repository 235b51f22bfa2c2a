"""``cxrbench figures``: which files it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pandas as pd
import pytest

from cxrbench.boards.figures import KINDS
from cxrbench.cli.figures import FigureKind


def test_the_kinds_of_the_command_are_those_that_can_be_drawn():
    assert tuple(FigureKind) == (*KINDS, "keypoints")


def test_without_a_run_the_largest_board_is_drawn(cli, grid, tmp_path):
    said = cli("figures", "--runs", grid.runs, "--output", tmp_path, "--only", "confusion")
    assert said.code == 0, said.err
    written = sorted(path.name for path in tmp_path.iterdir())
    recipes = [row["recipe"] for row in grid.result["boards"][0]["rows"]]
    recipes.remove("prior")  # one score for all images: no decisions
    names = [f"confusion-{recipe.replace(':', '_')}" for recipe in recipes]
    assert written == sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    assert sorted(said.out.split()) == sorted(str(tmp_path / name) for name in written)


def test_json_lists_the_files_and_carries_nothing_else(cli, grid, tmp_path):
    label = json.loads((grid.run_of("grid") / "run.json").read_text())["labels"][0]
    options = ["--runs", grid.runs, "--output", tmp_path / "new" / "folder", "--json"]
    said = cli("figures", "grid", "prior", *options, "--label", label, "--only", "roc")
    assert said.code == 0, said.err
    png, svg = map(Path, json.loads(said.out)["files"])
    assert (png.name, svg.name) == ("roc.png", "roc.svg")
    height, width, _ = cv2.imread(str(png)).shape
    assert height > 300
    assert width > 1200, "300 pixels an inch"
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")


def test_one_format_and_a_run_directory(cli, grid, tmp_path):
    run = grid.run_of("grid", seed=1)
    options = ["--output", tmp_path, "--format", "png", "--only", "training"]
    said = cli("figures", run, run, *options, "--runs", grid.runs)
    assert said.code == 0, said.err
    assert [path.name for path in tmp_path.iterdir()] == ["training-grid.png"]


def test_formats_can_be_several_with_a_resolution(cli, grid, tmp_path):
    options = ["--output", tmp_path, "--format", "pdf", "--format", "png", "--dpi", 100]
    said = cli("figures", "grid", *options, "--only", "roc", "--runs", grid.runs)
    assert said.code == 0, said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["roc.pdf", "roc.png"]
    assert 400 < cv2.imread(str(tmp_path / "roc.png")).shape[1] < 750


def test_an_unknown_label_lists_the_known(cli, grid, tmp_path):
    said = cli("figures", "--runs", grid.runs, "--output", tmp_path, "--label", "Gout")
    assert said.code == 2
    assert "the board has no label Gout" in said.err
    assert "use labels of this board with --label" in said.err


def copy_of(grid, folder, **info):
    shutil.copytree(grid.run_of("grid"), folder)
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**told, **info}))
    return folder


def test_rows_of_two_boards_are_refused(cli, grid, tmp_path):
    other = copy_of(grid, tmp_path / "other", board_key="another", run_key="another")
    said = cli("figures", "tinynet", other, "--runs", grid.runs, "--output", tmp_path / "out")
    assert said.code == 2
    assert "not scored on the same test images" in said.err


def test_predictions_that_were_changed_are_refused(cli, grid, tmp_path):
    run = copy_of(grid, tmp_path / "run")
    with (run / "predictions.parquet").open("ab") as file:
        file.write(b"x")
    said = cli("figures", run, "--runs", tmp_path, "--output", tmp_path / "out")
    assert said.code == 2
    assert "predictions.parquet of the run 'run' is missing or was changed" in said.err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_and_a_file_for_a_folder_are_refused(cli, grid, tmp_path):
    said = cli("figures", "--runs", tmp_path)
    assert said.code == 2
    assert "there is no complete run in" in said.err
    (tmp_path / "file").write_text("")
    options = ["--only", "forest", "--output", tmp_path / "file"]
    said = cli("figures", "grid", "--runs", grid.runs, *options)
    assert said.code == 2
    assert "cannot write figures in" in said.err


@pytest.mark.parametrize("kind", ["forest", "pareto"])
def test_board_figures_are_of_the_whole_board(cli, grid, tmp_path, kind):
    """Ranks depend on all rows, so that a figure of one row has the rank of the leaderboard."""
    options = ["--runs", grid.runs, "--output", tmp_path, "--only", kind, "--format", "svg"]
    one = cli("figures", "grid", *options)
    assert one.code == 0, one.err
    drawn = (tmp_path / f"{kind}.svg").read_bytes()
    cli("figures", *options)
    assert (tmp_path / f"{kind}.svg").read_bytes() == drawn


def test_keypoints_are_drawn_on_test_images(cli, tmp_path):
    options = ["--data", "phantom:patients=40,size=96", "--cache", tmp_path / "cache"]
    runs = ["--runs", tmp_path / "runs"]
    assert cli("run", "orb", *options, *runs, "--epochs", 1).code == 0
    out = ["--output", tmp_path / "figures", "--format", "png", "--only", "keypoints"]
    said = cli("figures", *runs, *out, "--cache", tmp_path / "cache")
    assert said.code == 0, said.err
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    test = pd.read_csv(next((tmp_path / "runs").glob("*orb*/test_metadata.csv")))["image_id"]
    assert names == [f"keypoints-{name}.png" for name in sorted(test)[:3]]


def test_without_keypoints_in_a_recipe_there_is_nothing_to_draw(cli, grid, tmp_path):
    said = cli("figures", "prior", "--runs", grid.runs, "--output", tmp_path, "--only", "keypoints")
    assert (said.code, said.out.strip()) == (0, "")
