"""Boards from run directories alone: rows over seeds, ranks, and what is kept apart."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from run_conditions import conditions

from cxrbench.boards.board import boards
from cxrbench.boards.leaderboard import Leaderboard
from cxrbench.metrics.intervals import METHOD, Spread, joined, share_interval
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import EffectivePatients
from cxrbench.output.show import plain
from cxrbench.runs.run import REPLICATES, Run, read_runs

PROMISED = {
    *("rank", "recipe", "macro_auroc", "macro_auroc_low", "macro_auroc_high", "macro_auroc_sd"),
    *("micro_auroc", "labels_counted", "seeds", "runs", "parameters", "train_seconds"),
    *("images_per_second", "protocol", "weights", "device", "precision", "fingerprint"),
    *("split_seed", "version"),
}


PATIENTS = EffectivePatients(200.0, 200.0, 200.0)


def as_json(boards, *, per_label):
    return plain(Leaderboard(boards, per_label=per_label).to_json())


def macro(row):
    return row.measures["macro_auroc"]


def stored(
    recipe: str,
    score: float | None,
    *,
    seed: int = 0,
    board: str = "b",
    spread: float = 0.01,
    noise: int = 0,
) -> Run:
    """A run of so much macro AUROC whose replicates scatter around it."""
    rng = np.random.default_rng(noise)
    centre = np.nan if score is None else score
    replicates = {name: centre + spread * rng.normal(size=200) for name in REPLICATES}
    told = conditions(
        recipe=recipe,
        row_key=recipe,
        run_key=f"{recipe}-{seed}",
        board_key=board,
        seed=seed,
        labels=("A", "B"),
        labels_counted=("A",),
        train_seconds=1.0 + seed,
    )
    label: dict[str, object] = {"label": "A", "counted": True, "positives": 3, "known": 9}
    label |= dict.fromkeys(("threshold", *MEASURES), score)
    metrics = dict.fromkeys(REPLICATES, score)
    metrics |= {f"{kind}_{name}": score for kind in ("macro", "micro") for name in MEASURES}
    metrics |= {"images": 9, "patients": 5, "bootstrap": {"method": METHOD}}
    metrics["effective_patients"] = dict.fromkeys(("macro", "micro"), PATIENTS.to_json())
    label["effective_patients"] = PATIENTS.to_json()

    class Drawn(Run):
        labels: ClassVar = [label]

        def replicates(self, names=REPLICATES):
            return {name: replicates[name] for name in names}

        def details(self, names):
            macro = replicates["macro_auroc"]
            return {n: macro[None] if n.startswith("label_") else macro for n in names}

    return Drawn(Path(f"{recipe}-{seed}"), told, {}, metrics)


def test_a_row_is_the_mean_over_seeds_with_their_spread():
    (board,) = boards([stored("orb", 0.6, seed=1), stored("orb", 0.7), stored("orb", 0.8, seed=2)])
    (row,) = board.rows
    assert macro(row).value == pytest.approx(0.7)
    assert row.macro_auroc_sd == pytest.approx(np.std([0.6, 0.7, 0.8], ddof=1))
    assert (row.seeds, row.runs) == (3, ("orb-0", "orb-1", "orb-2"))
    assert row.train_seconds == pytest.approx(2.0)
    assert row.images_per_second is None
    # The seeds' replicates hold the same patients and no noise of their own, so that their mean is
    # as wide as each; the variance of a mean over three seeds is added.
    drawn = 0.7 + 0.01 * np.random.default_rng(0).normal(size=200)
    patients = drawn.var(ddof=1) * 200 / 199
    expected = joined([Spread(patients, 199), Spread(0.1**2 / 3, 2)])
    assert (macro(row).low, macro(row).high) == pytest.approx(share_interval(0.7, expected, 200))
    assert math.isnan(row.measures["macro_ece"].low), "biased more than it varies"


def test_intervals_of_an_earlier_version_are_left_out_and_the_board_says_so():
    old = [stored("orb", 0.7), *(stored("sift", 0.6, seed=seed) for seed in (0, 1))]
    for run in old[:2]:
        del run.metrics["bootstrap"], run.metrics["effective_patients"]
    (board,) = boards(old)
    assert [macro(row).value for row in board.rows] == pytest.approx([0.7, 0.6])
    assert np.isnan([macro(row).low for row in board.rows]).all()
    assert np.isnan([row.scores["f1"].low for row in board.per_label]).all()
    assert "orb-0, sift-0, sift-1" in board.notes[0]
    assert "cxrbench score" in board.notes[0]


def test_one_seed_has_no_spread_and_one_undefined_seed_leaves_no_mean():
    (board,) = boards([stored("orb", 0.6), stored("sift", 0.7), stored("sift", None, seed=1)])
    rows = {row.recipe: row for row in board.rows}
    assert math.isnan(rows["orb"].macro_auroc_sd)
    assert math.isnan(macro(rows["sift"]).value)
    assert rows["sift"].rank is None
    assert [row.recipe for row in board.rows] == ["orb", "sift"], "undefined comes last"


def test_rows_that_cannot_be_told_apart_share_a_rank():
    runs = [
        stored("good", 0.80, noise=1),
        stored("as_good", 0.801, noise=2),
        stored("worse", 0.70, noise=3),
        stored("worst", 0.60, noise=4),
    ]
    (board,) = boards(runs)
    ranks = [(row.recipe, row.rank) for row in board.rows]
    assert ranks == [("as_good", 1), ("good", 1), ("worse", 3), ("worst", 4)]


def test_a_board_whose_patients_are_unknown_says_so():
    run = stored("orb", 0.7)
    unknown = replace(run.conditions, patients_known=False)
    told = as_json(boards([replace(run, conditions=unknown)]),
                   per_label=False)["boards"][0]  # fmt: skip
    assert told["conditions"]["patients_known"] is False
    assert told["conditions"]["test_patients"] is None
    assert told["rows"][0]["intervals_over"] == "images"
    assert "cannot check" in told["notes"][0]
    assert "Intervals are over images" in told["notes"][0]
    usual = as_json(boards([run]), per_label=False)["boards"][0]
    assert (usual["conditions"]["test_patients"], usual["notes"]) == (5, [])
    assert usual["conditions"]["patients_known"] is True
    assert usual["rows"][0]["intervals_over"] == "patients"


def test_other_test_sets_are_other_boards_and_the_fullest_comes_first():
    fullest = [stored("a", 0.5, board="y"), stored("b", 0.6, board="y")]
    made = boards([stored("a", 0.9, board="x"), *fullest])
    assert [(board.key, [row.recipe for row in board.rows]) for board in made] == [
        ("y", ["b", "a"]),
        ("x", ["a"]),
    ]
    assert [row.rank for row in made[1].rows] == [1]


def test_the_order_of_the_runs_makes_no_difference():
    runs = [stored("a", 0.9, noise=1), stored("b", 0.7, noise=2), stored("a", 0.8, seed=1, noise=3)]
    assert boards(runs) == boards(runs[::-1])
    assert boards([]) == ()


def test_rows_have_the_promised_keys_and_plain_values():
    told = as_json(boards([stored("orb", None)]), per_label=True)
    assert set(told["boards"][0]["rows"][0]) >= PROMISED
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert "per_label" not in as_json(boards([stored("orb", 0.5)]), per_label=False)["boards"][0]


def test_the_board_again_from_directories_alone(grid, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(grid.runs, moved)
    runs, skipped = read_runs(moved)
    assert skipped == ()
    told = as_json(boards(runs), per_label=True)
    assert told["boards"] == grid.result["boards"]
    (board,) = told["boards"]
    assert {row["recipe"] for row in board["rows"]} == {
        "tinynet", "tinynet+grid+rows:words=8", "grid", "prior",
    }  # fmt: skip
    assert board["conditions"]["test_patients"] == 12
    labels = [row for row in board["per_label"] if row["recipe"] == "grid"]
    assert [row["label"] for row in labels] == board["conditions"]["labels"]


def test_a_tampered_run_is_left_out_and_the_others_stand(grid, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(grid.runs, moved)
    path = moved / grid.run_of("grid", 1).name / "metrics.json"
    path.write_text(path.read_text().replace('"macro_auroc": 0.', '"macro_auroc": 0.9'))
    runs, skipped = read_runs(moved)
    assert [run.path.name for run in skipped] == [path.parent.name]
    (board,) = boards(runs)
    seeds = {row.recipe: row.seeds for row in board.rows}
    assert seeds == {"tinynet": 2, "tinynet+grid+rows:words=8": 2, "grid": 1, "prior": 1}


def test_controls_are_no_contestants_unless_asked_for():
    texts = ("orb", "orb+sift", "orb:permuted=true+sift")
    runs = [stored(text, score) for text, score in zip(texts, (0.6, 0.7, 0.9), strict=True)]
    (board,) = boards(runs)
    assert [row.recipe for row in board.rows] == ["orb+sift", "orb"]
    assert board.hidden == ("orb:permuted=true+sift",)
    (whole,) = boards(runs, controls=True)
    assert [row.recipe for row in whole.rows] == [texts[2], texts[1], texts[0]]
    (alone,) = boards(runs[2:])
    assert [row.recipe for row in alone.rows] == [texts[2]]
    assert whole.hidden == alone.hidden == ()


def test_the_kept_epochs_are_in_every_format_and_chance_is_warned_of():
    runs = [stored("a", 0.7, seed=seed) for seed in (0, 1)] + [stored("b", 0.6), stored("c", 0.5)]
    epochs = [(3, 54), (44, 54), (90, None), (None, None)]
    told = [
        replace(
            run,
            conditions=replace(
                run.conditions,
                best_epoch=best,
                epochs_trained=trained,
                val_positives=55 if best else None,
            ),
        )
        for run, (best, trained) in zip(runs, epochs, strict=True)
    ]
    board = Leaderboard(boards(told))
    rows = {row["recipe"]: row for row in plain(board.to_json())["boards"][0]["rows"]}
    assert (rows["a"]["best_epochs"], rows["a"]["epochs_trained"]) == ([3, 44], [54, 54])
    assert (rows["c"]["best_epochs"], rows["c"]["epochs_trained"]) == ([], [])
    lines = {line["recipe"]: line for line in board.records()}
    assert (lines["a"]["best_epochs"], lines["b"]["epochs_trained"]) == ("3 44", "")
    notes = board.sections()[0].notes
    assert (
        "Epochs kept, of those trained, for each seed: a 3 of 54, 44 of 54; b 90 of unknown."
        in notes
    )
    warnings = [note for note in notes if note.startswith("Warning")]
    assert len(warnings) == 2
    assert warnings[0].startswith("Warning: a: epoch 3 of 54 was kept, one of the first 3")
    assert "55 positive labels, fewer than 100" in warnings[1]


@pytest.mark.parametrize("change", [{"best_epoch": 0}, {"files": {"a\0b": 5}}])
def test_one_damaged_run_costs_no_board(cli, grid, tmp_path, change):
    runs = Path(shutil.copytree(grid.runs, tmp_path / "runs"))
    path = runs / grid.run_of("grid").name / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    said = cli("leaderboard", "--runs", runs)
    assert (said.code, "tinynet" in said.out) == (0, True), said.err
