"""``cxrbench export``: what is printed, and how it fails."""

from __future__ import annotations

import json


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
