"""Scored saliency on the board: columns, seeds joined, references, and what is not scored."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxrbench.boards.saliency_columns import row_saliency, saliency_references
from cxrbench.errors import RunError
from cxrbench.runs.additions import stored_saliency
from cxrbench.runs.directory import add_files
from cxrbench.runs.run import read_run


@pytest.fixture(scope="module")
def source(grid, tmp_path_factory) -> Path:
    """Two seeds of a recipe with their saliency scored, and a run without; tests only read it."""
    from cxrbench.inference.localise import LocaliseOptions, score_saliency
    from cxrbench.output.display import SilentDisplay
    from cxrbench.registry import load_registry

    folder = tmp_path_factory.mktemp("scored")
    registry = load_registry()
    for seed in (0, 1):
        path = shutil.copytree(grid.run_of("tinynet", seed), folder / f"seed{seed}")
        score_saliency(
            read_run(path),
            LocaliseOptions(),
            registry,
            cache=grid.cache,
            threads=1,
            display=SilentDisplay(),
        )
    shutil.copytree(grid.run_of("grid"), folder / "other")
    shutil.copytree(grid.run_of("prior"), folder / "prior")
    return folder


@pytest.fixture
def scored(source, tmp_path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "runs"))


def test_a_row_has_the_mean_of_its_seeds(scored):
    seeds = [read_run(scored / f"seed{seed}") for seed in (0, 1)]
    row = row_saliency(seeds)
    stored = [stored_saliency(run)["macro"]["map"] for run in seeds]
    assert (row.method, row.iou_threshold) == ("gradcam", 0.5)
    for name in ("hit_rate", "energy", "iou"):
        expected = np.mean([told[name] for told in stored])
        estimate = row.measures[f"saliency_{name}"]
        assert estimate.value == pytest.approx(expected)
        assert estimate.low <= expected <= estimate.high
    alone = row_saliency(seeds[:1]).measures["saliency_energy"]
    assert [alone.low, alone.high] == stored[0]["energy_interval"]


def has_none(row):
    undefined = all(math.isnan(estimate.value) for estimate in row.measures.values())
    return undefined and (row.method, row.iou_threshold) == (None, None)


def test_a_row_of_which_a_seed_is_not_scored_or_otherwise_has_none(scored):
    seeds = [read_run(scored / f"seed{seed}") for seed in (0, 1)]
    assert has_none(row_saliency([*seeds, read_run(scored / "other")]))
    told = {**stored_saliency(seeds[1]), "iou_threshold": 0.7}
    add_files(scored / "seed1", {"saliency.json": json.dumps(told).encode()})
    changed = [seeds[0], read_run(scored / "seed1")]
    assert has_none(row_saliency(changed))
    references = saliency_references([changed])
    assert [(told.name, told.iou_threshold) for told in references] == [
        ("random map", 0.5),
        ("centre prior", 0.5),
        ("random map", 0.7),
        ("centre prior", 0.7),
    ]


def test_a_file_that_was_changed_is_refused(scored):
    (scored / "seed0" / "saliency.json").write_text("{}")
    with pytest.raises(RunError, match=r"saliency.json of the run 'seed0'"):
        _ = stored_saliency(read_run(scored / "seed0"))


def test_added_files_take_the_place_of_others_and_leave_the_rest(scored):
    before = read_run(scored / "other").files
    add_files(scored / "other", {"saliency.json": b"1"})
    add_files(scored / "other", {"saliency.json": b"22"})
    after = read_run(scored / "other").files
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"saliency.json"}
    assert (scored / "other" / "saliency.json").read_bytes() == b"22"
    assert not list((scored / "other").glob(".*building"))


def test_the_board_shows_it_in_every_format(cli, scored):
    said = cli("leaderboard", "--runs", scored)
    assert said.code == 0, said.err
    for text in ("hit rate", "gradcam ≥ 0.5", "random map", "centre prior"):
        assert text in said.out
    (board,) = json.loads(cli("leaderboard", "--runs", scored, "--json").out)["boards"]
    rows = {row["recipe"]: row for row in board["rows"]}
    assert rows["grid"]["saliency_method"] is None
    assert rows["grid"]["saliency_energy"] is None
    assert 0 < rows["tinynet"]["saliency_energy"] < 1
    random, centre = board["saliency_references"]
    assert (random["name"], centre["name"]) == ("random map", "centre prior")
    assert random["hit_rate"] == pytest.approx(0.25)
    table = csv.DictReader(io.StringIO(cli("leaderboard", "--runs", scored, "--format", "csv").out))
    told = {row["recipe"]: row for row in table}
    assert float(told["tinynet"]["saliency_iou"]) == rows["tinynet"]["saliency_iou"]
    assert told["prior"]["saliency_iou"] == ""


def test_a_board_without_it_says_nothing(cli, scored):
    for seed in (0, 1):
        shutil.rmtree(scored / f"seed{seed}")
    assert "hit rate" not in cli("leaderboard", "--runs", scored).out
    (board,) = json.loads(cli("leaderboard", "--runs", scored, "--json").out)["boards"]
    assert board["saliency_references"] == []


def test_a_run_can_score_it_at_once(cli, grid, tmp_path):
    options = ("--data", "drawn", "--protocol", "probe", "--weights", "none", "--epochs", 2,
               "--batch-size", 16, "--cache", grid.cache, "--runs", tmp_path / "runs")  # fmt: skip
    said = cli("run", "tinynet", *options, "--saliency", "--json")
    assert said.code == 0, said.err
    (board,) = json.loads(said.out)["boards"]
    assert {row["recipe"]: row["saliency_method"] for row in board["rows"]} == {
        "tinynet": "gradcam",
        "prior": None,
    }
    without = ("--data", "drawn:boxes=false", "--runs", tmp_path / "none")
    said = cli("run", "tinynet", *options, "--saliency", *without)
    assert said.code == 2
    assert "has a box" in said.err
    assert not (tmp_path / "none").exists()  # before anything is trained
