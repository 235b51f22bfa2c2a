"""``cxrbench compare``: what is said of two rows, and which runs cannot be compared."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pandas as pd
import pytest

from cxrbench.data.cohort import board_key
from cxrbench.output.files import file_digest


def directory(grid, recipe, seed=0):
    (path,) = (
        p for p in grid.runs.iterdir() if p.name.startswith(f"drawn-{recipe}-probe-seed{seed}")
    )
    return path


def test_two_recipes_with_all_their_seeds(cli, grid):
    said = cli("compare", "tinynet", "prior", "--runs", grid.runs)
    assert said.code == 0, said.err
    lines = [line.split() for line in said.out.splitlines()]
    assert any(line[:3] == ["A", "tinynet", "2"] for line in lines)
    assert any(line[:3] == ["B", "prior", "1"] for line in lines)
    assert "drawn-tinynet-probe-seed0-" in said.out
    assert "minimum detectable difference (80 % power):" in " ".join(said.out.split())
    assert "row with one seed" not in said.out, "prior has no other seed"


@pytest.mark.parametrize("output", ["csv", "markdown", "html", "latex"])
def test_every_format_has_scores_and_labels(cli, grid, output):
    said = cli("compare", "tinynet", "grid", "--runs", grid.runs, "--format", output)
    assert said.code == 0, said.err
    assert "Effusion" in said.out
    assert "tinynet" in said.out or output == "csv"
    if output == "csv":
        lines = list(csv.DictReader(io.StringIO(said.out)))
        assert [line["score"] for line in lines[:3]] == ["macro_auroc", "micro_auroc", "auroc"]
        assert float(lines[0]["detectable"]) > 0


def test_json_has_the_scores_of_the_board(cli, grid):
    said = cli("compare", "grid", "tinynet", "--runs", grid.runs, "--json")
    told = json.loads(said.out)
    rows = {row["recipe"]: row for row in grid.result["boards"][0]["rows"]}
    for side, recipe in (("a", "grid"), ("b", "tinynet")):
        assert told["macro_auroc"][side] == pytest.approx(rows[recipe]["macro_auroc"])
        assert told["micro_auroc"][side] == pytest.approx(rows[recipe]["micro_auroc"])
        assert told[f"runs_{side}"] == rows[recipe]["runs"]
    labels = {(row["recipe"], row["label"]): row for row in grid.result["boards"][0]["per_label"]}
    for row in told["labels"]:
        assert row["a"] == pytest.approx(labels["grid", row["label"]]["auroc"])
        assert row["counted"] == labels["grid", row["label"]]["counted"]


def test_a_run_directory_stands_for_itself(cli, grid):
    one, other = directory(grid, "grid", 0), directory(grid, "grid", 1)
    by_path = cli("compare", one, other, "--json")
    by_name = cli("compare", one.name, other.name, "--runs", grid.runs, "--json")
    assert by_path.out == by_name.out
    assert json.loads(by_path.out)["runs_a"] == [one.name]
    assert "row with one seed" in cli("compare", one, other).out


def test_an_unknown_name_lists_the_known(cli, grid):
    said = cli("compare", "tinynet", "resnot", "--runs", grid.runs)
    assert said.code == 2
    assert "no run and no recipe 'resnot'" in said.err
    assert "grid, prior, tinynet" in " ".join(said.err.split())


@pytest.fixture
def changed(grid, tmp_path):
    """A copy of a run whose ``run.json`` says something else."""

    def change(recipe, **info):
        path = tmp_path / "runs" / f"copy-of-{recipe}"
        shutil.copytree(directory(grid, recipe), path)
        told = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps({**told, **info}))
        return path

    return change


def test_runs_of_other_boards_are_refused(cli, grid, changed):
    said = cli("compare", directory(grid, "tinynet"), changed("grid", board_key="another"))
    assert said.code == 2
    assert "not scored on the same test images" in said.err
    assert "split patient, seed 0" in said.err


def test_a_recipe_of_two_rows_is_refused(cli, grid, changed):
    runs = changed("grid", row_key="another", run_key="another").parent
    shutil.copytree(directory(grid, "grid", 1), runs / "second")
    said = cli("compare", "grid", "second", "--runs", runs)
    assert said.code == 2
    assert "2 rows have the recipe 'grid'" in said.err
    assert "use a run directory" in said.err


def test_predictions_that_were_changed_are_refused(cli, grid, changed):
    path = changed("grid")
    with (path / "predictions.parquet").open("ab") as file:
        file.write(b"x")
    said = cli("compare", directory(grid, "tinynet"), path)
    assert said.code == 2
    assert "predictions.parquet of the run 'copy-of-grid' is missing or was changed" in said.err


def test_unknown_patients_are_told_and_images_compared(cli, grid, changed):
    paths = []
    for recipe in ("grid", "tinynet"):
        path = changed(recipe, patients_known=False)
        told = json.loads((path / "run.json").read_text())
        table = pd.read_parquet(path / "predictions.parquet")
        table.assign(patient=None).to_parquet(path / "predictions.parquet", index=False)
        told["files"]["predictions.parquet"] = file_digest(path / "predictions.parquet")
        test = table[table["split"] == "test"]
        images, truth = test["image"].tolist(), test[[f"y_true_{n}" for n in told["labels"]]]
        told["board_key"] = board_key(
            told["labels"], images, images, truth.to_numpy(), patients_known=False
        )
        (path / "run.json").write_text(json.dumps(told))
        paths.append(path)
    said = cli("compare", *paths)
    assert said.code == 0, said.err
    assert "test images of unknown patients" in said.out
    assert "95 % interval of A − B over images" in said.out
    told = json.loads(cli("compare", *paths, "--json").out)
    assert told["test_patients"] is None
    assert any(row["p"] is not None for row in told["labels"]), "as if all were of one patient"
