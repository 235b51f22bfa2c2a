"""``cxrbench export``: what is printed, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path


def test_it_says_what_it_wrote(grid, cli, tmp_path):
    path = tmp_path / "model.keras"
    said = cli("export", grid.run_of("tinynet"), "--output", path)
    assert said.code == 0, said.err
    first, second = said.out.splitlines()
    assert first.startswith(
        f"{path}: runs without cxrbench; probabilities differ from the run's by "
    )
    assert second == f"{path}.json: labels, inputs, thresholds"
    assert path.is_file()


def test_json_and_nothing_else_on_standard_output(grid, cli, tmp_path):
    path = tmp_path / "served"
    said = cli("export", grid.run_of("grid"), "--format", "saved-model", "--output", path, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told.pop("difference") <= 1e-4
    assert told == {"path": str(path), "description": f"{path}.json", "format": "saved-model"}
    assert (path / "saved_model.pb").is_file()


def test_each_seed_of_a_recipe_is_exported_with_the_seed_in_its_name(grid, cli, tmp_path):
    arguments = ("export", "grid", "--runs", grid.runs, "--output", tmp_path / "model.keras")
    said = cli(*arguments, "--json")
    assert said.code == 0, said.err
    exports = json.loads(said.out)["exports"]
    places = [str(tmp_path / f"model-seed{seed}.keras") for seed in (0, 1)]
    assert [one["path"] for one in exports] == places
    for seed, one in enumerate(exports):
        described = json.loads(Path(one["description"]).read_text())
        assert described["run"]["seed"] == seed
    before = sorted(tmp_path.iterdir())
    Path(places[0]).unlink()
    Path(exports[0]["description"]).unlink()
    said = cli(*arguments)  # nothing is written if one of the places is taken
    assert said.code == 2
    assert "model-seed1.keras already exists" in said.err
    assert sorted(tmp_path.iterdir()) == before[2:]


def test_the_runs_of_a_recipe_name_their_exports(grid, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("export", "grid", "--runs", grid.runs).code == 0
    expected = {f"{grid.run_of('grid', seed).name}.keras" for seed in (0, 1)}
    assert {path.name for path in tmp_path.glob("*.keras")} == expected


def test_a_users_error_is_a_message_and_exit_code_2(grid, cli, tmp_path):
    said = cli("export", grid.run_of("prior"), "--output", tmp_path / "model")
    assert (said.code, said.out) == (2, "")
    assert "has no model" in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_wrong_use(grid, cli):
    said = cli("export", grid.run_of("grid"), "--format", "pickle")
    assert said.code == 2
    assert "saved-model" in said.err
