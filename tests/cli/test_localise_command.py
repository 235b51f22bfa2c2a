"""``cxrbench localise``: what it scores, what it leaves in the run, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cxrbench.output.files import file_digest
from cxrbench.runs.run import read_run


@pytest.fixture
def run(grid, tmp_path) -> Path:
    """A copy of a run that a test may add to, alone in its folder."""
    return Path(shutil.copytree(grid.run_of("tinynet"), tmp_path / "runs" / "copy"))


@pytest.fixture
def localise(cli, grid):
    """The command, with the cache of the runs."""

    def run(*arguments, cache=grid.cache):
        return cli("localise", *arguments, "--cache", cache)

    return run


def test_scores_are_printed_and_kept_with_the_run(localise, run):
    before = json.loads((run / "run.json").read_text())
    said = localise(run, "--json")
    assert said.code == 0, said.err
    (told,) = json.loads(said.out)["runs"]
    assert told == json.loads((run / "saliency.json").read_text())
    assert (told["recipe"], told["method"], told["occlusion"]) == ("tinynet", "gradcam", None)
    assert told["iou_threshold"] == 0.5
    assert [label["label"] for label in told["labels"]] == ["Effusion", "Mass", "Nodule"]
    assert sum(label["images"] for label in told["labels"]) == told["boxes"]
    for label in told["labels"]:
        # Each picture has one box, a quarter of it.
        assert label["random"]["hit_rate"] == pytest.approx(0.25)
        assert label["random"]["iou"] == pytest.approx(0.125 / (0.25 + 0.5 * 0.75))
        assert label["centre"]["energy"] == pytest.approx(0.25, abs=0.001)
        assert 0 <= label["map"]["energy"] <= 1
    assert told["macro"]["map"]["hit_rate_interval"]
    info = json.loads((run / "run.json").read_text())
    added = {name: file_digest(run / name) for name in ("saliency.json", "saliency.npz")}
    assert info["files"] == {**before["files"], **added}
    assert {**info, "files": 0} == {**before, "files": 0}
    with np.load(run / "saliency.npz") as file:
        assert {name: array.shape for name, array in file.items()} == dict.fromkeys(
            ("hit_rate", "energy", "iou"), (1000,)
        )
        assert file["energy"].mean() == pytest.approx(told["macro"]["map"]["energy"], abs=0.02)


def test_what_a_run_has_already_is_used(localise, run):
    first = localise(run, "--json")
    again = localise(run, "--json")
    assert again.out == first.out
    assert "uses the stored saliency scores" in again.err
    other = localise(run, "--json", "--iou-threshold", 0.8)
    assert "stored saliency scores" not in other.err
    assert json.loads(other.out)["runs"][0]["iou_threshold"] == 0.8
    assert "stored saliency scores" not in localise(run, "--force", "--iou-threshold", 0.8).err
    assert read_run(run).files["saliency.json"] == file_digest(run / "saliency.json")


def test_the_table_says_how_it_is_scored(localise, run):
    said = localise("copy", "--runs", run.parent, "--method", "gradcam++")
    assert said.code == 0, said.err
    assert "(copy): Grad-CAM++, " in said.out
    for row in ("Effusion", "macro", "random map", "centre prior"):
        assert row in said.out
    text = " ".join(said.out.split())
    assert "at least 0.5 of the map's maximum; this threshold is fixed" in text
    method = "95 % bootstrap interval over patients, by Wilson's score with a t quantile."
    assert text.count(method) == text.count("95 %") == 1


def test_csv_has_a_line_for_each_label_and_kind_of_map(localise, run):
    lines = list(csv.DictReader(io.StringIO(localise(run, "--format", "csv").out)))
    labels = ("Effusion", "Mass", "Nodule", "")
    kinds = ("saliency", "random map", "centre prior")
    assert [(line["label"], line["map"]) for line in lines] == list(product(labels, kinds))
    stored = json.loads((run / "saliency.json").read_text())
    assert float(lines[-3]["energy"]) == stored["macro"]["map"]["energy"]
    assert float(lines[-3]["energy_low"]) == stored["macro"]["map"]["energy_interval"][0]
    assert "| macro |" in localise(run, "--format", "markdown").out


def test_a_recipe_is_all_its_seeds_and_features_alone_are_occluded(localise, grid, tmp_path):
    for seed in (0, 1):
        shutil.copytree(grid.run_of("grid", seed), tmp_path / "runs" / f"seed{seed}")
    said = localise("grid", "--runs", tmp_path / "runs", "--json", "--threads", 2)
    assert said.code == 0, said.err
    told = json.loads(said.out)["runs"]
    assert [one["run"] for one in told] == ["seed0", "seed1"]
    assert [one["method"] for one in told] == ["occlusion", "occlusion"]
    assert told[0]["occlusion"] == {"cells": 10, "patch": 2}
    assert told[0]["labels"][0]["random"] == told[1]["labels"][0]["random"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("drawn:boxes=false", "has a box"),
        ("drawn:seed=1", "other labels or patients"),
        ("drawn:patients=20", "of them missing, such as"),
        ("drawn:test_pixels=blank", "the images of 'drawn' are not those of the run 'copy'"),
    ],
)
def test_other_data_are_refused(localise, run, tmp_path, data, told):
    said = localise(run, "--data", data, cache=tmp_path / "cache")
    assert said.code == 2
    assert told in said.err
    assert not (run / "saliency.json").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--method", "lime"), "expected: auto, gradcam, gradcam++, occlusion"),
        (("--iou-threshold", 1.5), "--iou-threshold cannot be 1.5"),
        (("--device", "tpu"), "--device cannot be 'tpu'"),
    ],
)
def test_options_that_cannot_work(localise, run, options, told):
    said = localise(run, *options)
    assert said.code == 2
    assert told in said.err


def test_runs_that_cannot_be_scored(localise, grid, run):
    assert "has no model" in localise(grid.run_of("prior")).err
    (run / "model.weights.h5").write_bytes(b"other")
    said = localise(run)
    assert (said.code, said.out) == (2, "")
    assert "model.weights.h5 of the run 'copy' is missing or was changed after the run" in said.err


def test_a_recipe_without_pixels_does_not_stop_a_run_with_saliency(cli, tmp_path):
    options = ("--data", "drawn", "--saliency", "--runs", tmp_path / "runs", "--image-size", 32)
    said = cli("run", "grid", "noise:size=4", *options, "--cache", tmp_path / "cache", "--json")
    assert said.code == 0, said.err
    assert "noise:size=4" in said.err
    assert "no saliency scores, because the recipe uses no pixels" in said.err
    (board,) = json.loads(said.out)["boards"]
    rows = {row["recipe"]: row for row in board["rows"]}
    assert rows["grid"]["saliency_method"] == "occlusion"
    assert rows["noise:size=4"]["saliency_method"] is None


def test_a_wrong_name_stops_it_before_the_first_map(localise, run):
    said = localise(run, "no-such-run", "--runs", run.parent)
    assert said.code == 2
    assert "no-such-run" in said.err
    assert not (run / "saliency.json").exists()
