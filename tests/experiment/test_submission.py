"""Submissions: from a label table and a table of predictions to a row of a board."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrbench.boards.board import Board, boards
from cxrbench.errors import DataError, RunError, SettingsError
from cxrbench.experiment.submission import Submission, submit
from cxrbench.output.display import SilentDisplay
from cxrbench.registry import load_registry
from cxrbench.runs.run import read_runs

LABELS = ["Mass", "Edema", "Hernia"]


@pytest.fixture
def labels(tmp_path: Path) -> pd.DataFrame:
    """80 patients with two images each, in a table without images."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image": [f"{number:03}.png" for number in range(160)]})
    table["patient"] = np.repeat(np.arange(80), 2)
    for name, share in zip(LABELS, (0.3, 0.5, 0.02), strict=True):
        table[name] = (rng.random(160) < share).astype(int)
    table.to_csv(tmp_path / "labels.csv", index=False)
    return table


def predicted(labels: pd.DataFrame, path: Path, *, better: float = 1.0, names=LABELS) -> Path:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(len(labels), len(names)))
    logits = better * labels[names].to_numpy() - 1 + noise
    table = pd.DataFrame(1 / (1 + np.exp(-logits)), columns=[f"prob_{name}" for name in names])
    table.insert(0, "image", labels["image"].to_numpy())
    table.sample(frac=1, random_state=2).to_csv(path, index=False)
    return path


def submission(folder: Path, table: Path, **changes) -> Submission:
    usual = Submission(
        name="theirs",
        table=table,
        data=str(folder / "labels.csv"),
        runs=folder / "runs",
        cache=folder / "cache",
        split="predictions",
    )
    return replace(usual, **changes)


def macro(row) -> float:
    return row.measures["macro_auroc"].value


def board_of(told: Submission) -> Board:
    submit(told, load_registry(), SilentDisplay())
    (board,) = boards(read_runs(told.runs)[0])
    return board


def test_predictions_alone_make_a_row_marked_external_beside_a_prior(labels, tmp_path):
    tested = labels[labels["patient"] < 40]
    board = board_of(submission(tmp_path, predicted(tested, tmp_path / "p.csv")))
    theirs, prior = board.rows
    assert (theirs.recipe, theirs.kind, theirs.conditions.protocol) == (
        *("theirs", "submitted", "external"),
    )
    assert (theirs.parameters, theirs.train_seconds) == (None, None)
    assert (board.test_images, board.test_patients) == (80, 40)
    assert (prior.recipe, prior.conditions.origin, macro(prior)) == ("prior", "cxrbench", 0.5)
    table = pd.read_csv(tmp_path / "p.csv").set_index("image").loc[tested["image"]]
    expected = [roc_auc_score(tested[n], table[f"prob_{n}"]) for n in board.labels_counted]
    estimate = theirs.measures["macro_auroc"]
    assert estimate.value == pytest.approx(np.mean(expected), abs=1e-9)
    assert estimate.low < estimate.value < estimate.high


def test_the_prior_is_the_prevalence_among_other_patients(labels, tmp_path):
    tested = labels[(labels["patient"] < 40) & (labels.index % 2 == 0)]
    told = submission(tmp_path, predicted(tested, tmp_path / "p.csv"))
    board_of(told)
    (path,) = told.runs.glob("*-prior-*/predictions.parquet")
    table = pd.read_parquet(path)
    assert sorted(table["image"]) == sorted(tested["image"])
    expected = labels[labels["patient"] >= 40]["Mass"].mean()
    assert table["y_score_Mass"].unique() == pytest.approx([expected])


def test_labels_without_a_column_are_left_out_and_the_board_says_which(labels, tmp_path):
    tested = labels[labels["patient"] < 40]
    table = predicted(tested, tmp_path / "p.csv", names=["Edema", "Mass"])
    board = board_of(submission(tmp_path, table))
    assert (board.labels, board.labels_left_out) == (("Mass", "Edema"), ("Hernia",))
    assert "Labels without predictions are left out: Hernia." in board.notes


def test_it_stands_on_the_board_of_runs_with_the_same_test_images(grid, tmp_path):
    path = grid.run_of("grid")
    info = json.loads((path / "run.json").read_text())
    table = pd.read_parquet(path / "predictions.parquet")
    scores = [f"y_score_{label}" for label in info["labels"]]
    for part in ("test", "val"):
        kept = table[table["split"] == part][["image", *scores]]
        kept.to_csv(tmp_path / f"{part}.csv", index=False)
    settings = (path / "settings.toml").read_text()
    (data,) = [line for line in settings.splitlines() if line.startswith("data = ")]
    told = Submission(
        name="the same",
        table=tmp_path / "test.csv",
        val_table=tmp_path / "val.csv",
        data=json.loads(data.removeprefix("data = ")),
        runs=tmp_path / "runs",
        cache=tmp_path / "cache",
        fractions=tuple(info["settings"]["fractions"]),
        split_seed=info["split_seed"],
    )
    key = submit(told, load_registry(), SilentDisplay())
    assert key == info["board_key"]
    (same,) = (tmp_path / "runs").glob("*the_same*/metrics.json")
    ours, theirs = (json.loads(p.read_text()) for p in (path / "metrics.json", same))
    assert theirs["macro_auroc"] == pytest.approx(ours["macro_auroc"], abs=1e-9)
    assert theirs["macro_auroc_interval"] == pytest.approx(ours["macro_auroc_interval"], abs=1e-9)
    assert theirs["macro_f1"] == pytest.approx(ours["macro_f1"], abs=1e-9), "thresholds from val"


def test_again_is_the_same_run_and_other_predictions_need_force(labels, tmp_path):
    tested = labels[labels["patient"] < 40]
    told = submission(tmp_path, predicted(tested, tmp_path / "p.csv"))
    first = macro(board_of(told).rows[0])
    assert macro(board_of(told).rows[0]) == first
    predicted(tested, tmp_path / "p.csv", better=3.0)
    with pytest.raises(RunError, match="name 'theirs' is already used for other predictions"):
        board_of(told)
    board = board_of(replace(told, force=True))
    assert macro(board.rows[0]) > first
    assert len(board.rows) == 2
    (row, _) = board_of(replace(told, seed=1)).rows
    assert row.seeds == 2


@pytest.mark.parametrize("name", ["", "prior", " a", "a\nb"])
def test_names_that_cannot_be_are_refused(labels, tmp_path, name):
    with pytest.raises(SettingsError, match="cannot have the name"):
        board_of(submission(tmp_path, tmp_path / "p.csv", name=name))


def test_predictions_of_everybody_leave_no_prior(labels, tmp_path):
    with pytest.raises(DataError, match="every patient"):
        board_of(submission(tmp_path, predicted(labels, tmp_path / "p.csv")))


def test_a_test_split_that_is_not_covered_is_refused(labels, tmp_path):
    table = predicted(labels[labels["patient"] < 40], tmp_path / "p.csv")
    with pytest.raises(DataError, match="does not cover the test images"):
        board_of(submission(tmp_path, table, split="patient"))
    assert not (tmp_path / "runs").exists(), "nothing is written before all is checked"


def command(cli, folder: Path, table: Path, *options: str):
    return cli(
        "submit", "theirs", table, "--data", folder / "labels.csv", "--split", "predictions",
        "--runs", folder / "runs", "--cache", folder / "cache", *options,
    )  # fmt: skip


def test_three_patients_are_scored_with_a_warning_and_no_crash(cli, labels, tmp_path):
    table = predicted(labels[labels["patient"] < 3], tmp_path / "p.csv")
    said = command(cli, tmp_path, table, "--per-label")
    assert said.code == 0, said.err
    assert "6 test images of 3 patients" in said.out
    assert "No label counts: none has 5 test patients with it and 5 without" in said.out


def test_the_command_prints_json_and_nothing_else(cli, labels, tmp_path):
    table = predicted(labels[labels["patient"] < 40], tmp_path / "p.csv")
    said = command(cli, tmp_path, table, "--parameters", "1234", "--json")
    rows = {row["recipe"]: row for row in json.loads(said.out)["boards"][0]["rows"]}
    assert rows["theirs"]["parameters"] == 1234
    assert rows["theirs"]["macro_brier"] > 0


@pytest.mark.parametrize("order", [("submit", "run"), ("run", "submit")], ids="-".join)
def test_a_board_has_one_prior_whatever_made_it(cli, grid, tmp_path, order):
    table = pd.read_parquet(grid.run_of("grid") / "predictions.parquet")
    tested = table[table["split"] == "test"]
    tested.filter(regex="^image$|^y_score_").to_csv(tmp_path / "p.csv", index=False)
    places = ("--data", "drawn", "--runs", tmp_path / "runs", "--cache", grid.cache)
    commands = {
        "submit": ("submit", "theirs", tmp_path / "p.csv", *places),
        "run": ("run", "prior", *places),
    }
    for name in order:
        said = cli(*commands[name])
        assert said.code == 0, said.err
    (board,) = json.loads(cli("leaderboard", "--runs", tmp_path / "runs", "--json").out)["boards"]
    rows = {row["recipe"]: row for row in board["rows"]}
    assert [row["recipe"] for row in board["rows"]] == ["theirs", "prior"]
    assert rows["prior"]["macro_accuracy"] is not None, "the one with thresholds"
    assert cli("compare", "theirs", "prior", "--runs", tmp_path / "runs").code == 0
