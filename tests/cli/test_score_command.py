"""``cxrbench score``: the same scores again, others by other rules, and never half of them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cxrbench.errors import RunError
from cxrbench.runs import scores
from cxrbench.runs.assessment import scoring_of
from cxrbench.runs.directory import is_complete, is_scored
from cxrbench.runs.run import read_run, read_run_file
from cxrbench.runs.scores import SCORE_FILES, score_again


@pytest.fixture
def run(grid, tmp_path) -> Path:
    return Path(shutil.copytree(grid.run_of("grid"), tmp_path / "runs" / "a-run"))


def told(run: Path, name: str = "metrics.json") -> dict:
    return json.loads((run / name).read_text())


def test_scoring_again_gives_the_same_files(cli, run):
    before = {name: (run / name).read_bytes() for name in SCORE_FILES if name.endswith("json")}
    info = told(run, "run.json")
    said = cli("score", run)
    assert said.code == 0, said.err
    assert {name: (run / name).read_bytes() for name in before} == before
    assert told(run, "run.json") == info | {"files": told(run, "run.json")["files"]}
    assert "grid" in said.out


def test_a_recipe_is_scored_with_all_its_seeds(cli, grid, run):
    shutil.copytree(grid.run_of("grid", 1), run.parent / "other")
    said = cli("score", "GRID", "--runs", run.parent, "--thresholds", "sensitivity=0.9", "--json")
    (row,) = json.loads(said.out)["boards"][0]["rows"]
    assert (row["seeds"], row["thresholds"]) == (2, "sensitivity=0.9")


def test_other_rules_are_recorded_and_change_what_they_should(cli, run):
    before = told(run)
    rules = ("--thresholds", "sensitivity=0.9", "--calibration", "temperature")
    row = json.loads(cli("score", run, *rules, "--json").out)["boards"][0]["rows"][0]
    assert (row["calibration"], row["thresholds"]) == ("temperature", "sensitivity=0.9")
    assert told(run, "run.json")["scoring"] == {
        "calibration": "temperature",
        "thresholds": "sensitivity=0.9",
    }
    after = told(run)
    assert after["macro_auroc"] == before["macro_auroc"]
    assert after["macro_brier"] != before["macro_brier"]
    assert after["calibration"]["method"] == "temperature"
    assert read_run(run).metrics == after


def test_the_images_and_the_model_are_not_needed(cli, run):
    (run / "model.keras").unlink()
    (run / "model.weights.h5").unlink()
    assert cli("score", run, "--thresholds", "sensitivity=0.8").code == 0


def test_of_many_runs_each_is_read_a_few_times(cli, grid, tmp_path, monkeypatch):
    runs = Path(shutil.copytree(grid.runs, tmp_path / "runs"))
    names = [path for path in sorted(runs.iterdir()) if path.is_dir()]
    times: Counter[str] = Counter()

    def counting(path):
        times[path.name] += 1
        return read_run_file(path)

    monkeypatch.setattr("cxrbench.runs.run.read_run_file", counting)
    assert cli("score", *names, "--runs", runs).code == 0
    assert max(times.values()) <= 6


def test_a_row_without_complete_runs_lists_those_that_are_left_out(cli, run):
    (run / "metrics.json").write_text("{}")
    said = cli("compare", "grid", "grid", "--runs", run.parent)
    assert said.code == 2
    assert "0 complete runs; metrics.json of the run 'a-run' is missing or was changed" in said.err


def test_where_a_run_cannot_be_written_the_advice_is_one_that_helps(cli, run, monkeypatch):
    def full(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("cxrbench.runs.directory.write_json", full)
    said = cli("score", run)
    assert said.code == 2
    assert "cannot write the scores of the run" in said.err
    assert "copy it into a folder that is" in said.err


@pytest.mark.parametrize("name", SCORE_FILES)
def test_killed_in_between_it_is_marked_and_finished_by_the_same_command(run, monkeypatch, name):
    """Whichever file is written last."""
    scoring = scoring_of("isotonic", "youden")

    def killed(assessment, folder, *, patients_known):
        (folder / name).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(scores, "write_scores", killed)
        with pytest.raises(KeyboardInterrupt):
            score_again(run, scoring)
    with pytest.raises(RunError, match="its scores are"):
        read_run(run)
    assert is_complete(run), "nothing has to be trained again"
    assert not is_scored(run, scoring.to_json())
    score_again(run, scoring)
    assert is_scored(run, scoring.to_json())
    assert read_run(run).metrics["calibration"]["method"] == "isotonic"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--calibration", "platt"], "none, temperature or isotonic"),
        (["--thresholds", "best"], "youden, or sensitivity="),
    ],
)
def test_rules_that_there_are_not_are_refused(cli, run, option, expected):
    before = (run / "run.json").read_bytes()
    said = cli("score", run, *option)
    assert said.code == 2
    assert expected in said.err
    assert (run / "run.json").read_bytes() == before


def test_changed_predictions_are_refused(cli, run):
    with (run / "predictions.parquet").open("ab") as file:
        file.write(b"more")
    said = cli("score", run)
    assert said.code == 2
    assert "predictions.parquet of the run 'a-run' is missing or was changed" in said.err


def test_no_run_is_refused(cli, tmp_path):
    said = cli("score", tmp_path)
    assert said.code == 2
    assert "has no run.json" in said.err


@pytest.fixture
def two_seeds(grid, run) -> Path:
    """The folder of both seeds of grid, of tinynet and of the fused recipe."""
    for recipe in ("grid", "tinynet", "tinynet+grid+rows:words=8"):
        for seed in (0, 1):
            shutil.copytree(grid.run_of(recipe, seed), run.parent / f"{recipe}-{seed}")
    shutil.rmtree(run)
    return run.parent


def test_a_directory_stands_for_its_row_and_the_change_is_shown(cli, two_seeds):
    one = two_seeds / "grid-0"
    before = [told(two_seeds / f"grid-{seed}")["macro_brier"] for seed in (0, 1)]
    said = cli("score", one, "--calibration", "temperature", "--json")
    result = json.loads(said.out)
    (row,) = result["boards"][0]["rows"]
    assert (row["recipe"], row["seeds"], row["calibration"]) == ("grid", 2, "temperature")
    (change,) = result["changes"]
    after = [told(two_seeds / f"grid-{seed}")["macro_brier"] for seed in (0, 1)]
    assert change["scoring_before"]["calibration"] == "none"
    assert change["before"]["brier"] == pytest.approx(sum(before) / 2)
    assert change["after"]["brier"] == pytest.approx(sum(after) / 2) != change["before"]["brier"]
    table = cli("score", "grid", "--runs", two_seeds).out
    assert "Scored again: before → after" in table
    assert "temperature → none" in table


def test_rows_that_are_scored_in_two_ways_say_so_and_are_still_compared(cli, two_seeds):
    gains = json.loads(cli("leaderboard", "--runs", two_seeds, "--ablation", "--json").out)
    compared = json.loads(cli("compare", "tinynet", "grid", "--runs", two_seeds, "--json").out)
    said = cli("score", "grid", "--runs", two_seeds, "--seed", "1", "--calibration", "isotonic")
    assert said.code == 0, said.err
    board = cli("leaderboard", "--runs", two_seeds)
    assert "calibration" in board.out
    assert board.out.count("isotonic") == 1
    after = json.loads(cli("leaderboard", "--runs", two_seeds, "--ablation", "--json").out)
    assert after["boards"][0]["ablation"] == gains["boards"][0]["ablation"]
    again = json.loads(cli("compare", "tinynet", "grid", "--runs", two_seeds, "--json").out)
    assert again["macro_auroc"] == compared["macro_auroc"]
    missing = cli("score", "grid", "--runs", two_seeds, "--seed", "7")
    assert (missing.code, missing.out) == (2, "")
    assert "of seed 7" in missing.err
    cli("score", "grid", "--runs", two_seeds)
    assert "calibration" not in cli("leaderboard", "--runs", two_seeds).out
