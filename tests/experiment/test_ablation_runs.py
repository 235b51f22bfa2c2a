"""A grid with its ablation: a feature that knows nothing, one that does, and what is told."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from conftest import Recorder

import cxrbench
from cxrbench.runs.run import read_runs

OPTIONS = {
    **{"data": "drawn:patients=100", "head": "mlp", "epochs": 6},
    **{"batch_size": 16, "learning_rate": 1e-3},
}
ADDED = (
    *("static", "grid", "grid:permuted=true+static", "grid+static:permuted=true"),
    *("noise+static", "grid+noise"),
)


@pytest.fixture(scope="module")
def ablated(tiny_plugin, tmp_path_factory):
    """grid shows each label; static is noise."""
    folder, display = tmp_path_factory.mktemp("ablated"), Recorder()
    where = {"runs": folder / "runs", "cache": folder / "cache"}
    result = cxrbench.run(
        "static+grid", ablation=True, ablation_noise=True, display=display, **OPTIONS, **where
    )
    return folder, display, result


def test_what_the_ablation_needs_is_added_and_told(ablated):
    _, display, result = ablated
    (board,) = result["boards"]
    controls = {text for text in ADDED if "permuted" in text or "noise" in text}
    assert set(board["hidden"]) == controls
    shown = {row["recipe"] for row in board["rows"]}
    assert shown == {"grid+static", "prior", *ADDED} - controls
    assert f"added for the ablation: {', '.join(ADDED)}" in display.lines


def test_a_part_that_knows_something_adds_it_and_its_control_does_not(ablated):
    _, _, result = ablated
    grid, static = result["boards"][0]["ablation"]
    assert (grid["part"], grid["without"], grid["recipe"]) == ("grid", "static", "grid+static")
    assert (static["part"], static["without"]) == ("static", "grid")
    gain = grid["macro_auroc"]
    assert gain["part"]["difference"] > 0.3
    assert gain["part"]["low"] > 0.1
    assert gain["part_p_holm"] < 0.001
    assert gain["beyond_control"]["low"] > 0.1
    assert gain["beyond_control_p_holm"] < 0.001
    assert gain["control"]["difference"] < 0.2
    assert gain["part"]["difference"] == pytest.approx(
        gain["control"]["difference"] + gain["beyond_control"]["difference"]
    )
    assert grid["parameters"] == 16 * 256 + 256 + 256 * 1024


def test_a_part_that_knows_nothing_adds_no_more_than_its_control(ablated):
    _, _, result = ablated
    _, static = result["boards"][0]["ablation"]
    gain = static["macro_auroc"]
    assert gain["part"]["difference"] < 0.03
    assert gain["beyond_control"]["low"] <= 0 <= gain["beyond_control"]["high"]
    assert gain["beyond_control_p_holm"] > 0.05


def test_noise_in_the_place_of_a_part_adds_nothing(cli, ablated):
    folder, _, result = ablated
    grid, static = result["boards"][0]["ablation"]
    assert (grid["noise"], static["noise"]) == ("noise+static", "grid+noise")
    assert grid["macro_auroc"]["noise"]["difference"] < 0.15
    assert static["macro_auroc"]["noise"]["difference"] < 0.03
    said = cli("leaderboard", "--runs", folder / "runs", "--ablation").out
    lines = [line.split() for line in said.splitlines()]
    assert [line[0] for line in lines if line[:1] == ["noise"]] == ["noise", "noise"]
    assert "noise: the recipe with 256 random numbers" in " ".join(said.split())


def test_the_leaderboard_says_the_same_from_run_directories(cli, ablated):
    folder, _, result = ablated
    said = cli("leaderboard", "--runs", folder / "runs", "--ablation", "--json", "--per-label")
    assert json.loads(said.out) == result
    (plain,) = json.loads(cli("leaderboard", "--runs", folder / "runs", "--json").out)["boards"]
    assert "ablation" not in plain
    told = cli("leaderboard", "--runs", folder / "runs", "--ablation", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(told)))
    assert [row["part"] for row in rows] == ["grid", "static"]
    gain = result["boards"][0]["ablation"][0]["macro_auroc"]
    assert float(rows[0]["macro_auroc_part_low"]) == gain["part"]["low"]
    assert float(rows[0]["macro_auroc_beyond_control_p_holm"]) == gain["beyond_control_p_holm"]
    text = " ".join(cli("leaderboard", "--runs", folder / "runs", "--ablation").out.split())
    assert "grid adds 0." in text
    assert "own features add significantly more" in text
    assert "static: no significant gain over grid" in text


def test_without_a_control_it_is_said_how_to_get_it(cli, ablated, tmp_path):
    folder, _, _ = ablated
    runs, _ = read_runs(folder / "runs")
    for run in runs:
        if not {"permuted", "noise"} & set(re.split(r"\W", run.conditions.recipe)):
            shutil.copytree(run.path, tmp_path / run.path.name)
    said = cli("leaderboard", "--runs", tmp_path, "--ablation", "--format", "html").out
    assert "run its permuted control grid:permuted=true+static" in said
    assert "random numbers" not in said
    told = next(part for part in said.split("`") if part.startswith("cxrbench run --config"))
    options = told.split()[1:]
    assert tomllib.loads(Path(options[2]).read_text())["recipes"] == ["grid+static"]
    before = {path.name for path in (folder / "runs").iterdir()}
    again = cli(*options, "--runs", folder / "runs", "--cache", folder / "cache", "--json")
    assert again.code == 0
    assert {path.name for path in (folder / "runs").iterdir()} == before, "all had been measured"


def test_a_grid_of_single_parts_has_nothing_to_leave_out(cli, tmp_path):
    where = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    said = cli("run", "grid", "static", "--ablation", "--data", "drawn", *where)
    assert said.code == 2
    assert "--ablation has no part to leave out" in said.err
    assert "got: grid, static" in said.err
    assert not list(tmp_path.iterdir())


def test_a_control_is_a_model_like_any_other(ablated, registry):
    from cxrbench.inference.trained import load_trained

    folder, _, _ = ablated
    runs, _ = read_runs(folder / "runs")
    (control, *_) = (run for run in runs if run.conditions.recipe == ADDED[2])
    trained = load_trained(control.path, registry)
    assert trained.recipe.permuted_inputs == ("grid",)


def test_a_penalty_is_a_condition_that_runs_without_one_do_not_have(ablated, tmp_path):
    folder, _, _ = ablated
    where = {"runs": tmp_path, "cache": folder / "cache"}
    cxrbench.run("grid", l2=0.01, **OPTIONS, **where)
    before, after = (
        next(run for run in read_runs(runs)[0] if run.conditions.recipe == "grid").conditions
        for runs in (folder / "runs", tmp_path)
    )
    assert "l2" not in before.settings
    assert after.settings == {**before.settings, "l2": 0.01}
    assert after.row_key != before.row_key
