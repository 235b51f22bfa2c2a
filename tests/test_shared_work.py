"""What runs of one grid and of several calls share, and what they do again."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_parts
from grid_runs import FUSED, again, info_of, scores_of

from cxrbench.runs.directory import is_complete


def test_a_grid_decodes_extracts_and_embeds_nothing_twice(grid):
    assert grid.calls["read"] == 90
    assert grid.calls["grid"] == 90
    assert grid.calls["rows"] == 90
    # Each seed draws other random weights, so there are two embeddings, shared by both recipes.
    assert grid.display.count("embedding") == 2
    assert grid.display.count("training") == 6


def test_a_second_call_uses_what_the_first_one_made(grid):
    tiny_parts.calls.clear()
    result, display = again(grid)
    assert result == grid.result
    assert {name: tiny_parts.calls[name] for name in ("read", "grid", "rows", "build")} == {
        "read": 1,
        "grid": 0,
        "rows": 0,
        "build": 1,
    }  # fmt: skip; one image is compared with that of before, one network is built to see early
    # whether its weights are there
    assert display.tasks == []
    said = [line for line in display.lines if "already complete" in line]
    assert len(said) == 7


def test_another_recipe_pays_only_for_what_is_new(grid, tmp_path):
    tiny_parts.calls.clear()
    _, display = again(grid, ["tinynet+rows:words=8"], runs=tmp_path, seeds=1)
    assert (tiny_parts.calls["read"], tiny_parts.calls["rows"]) == (1, 0)
    assert display.count("embedding") == 0
    assert display.count("training") == 1


def test_an_incomplete_run_is_done_again_with_the_same_result(grid, tmp_path):
    path = tmp_path / grid.run_of("grid").name
    shutil.copytree(grid.run_of("grid"), path)
    before = scores_of(path)
    text = (path / "run.json").read_text().replace('"complete"', '"incomplete"')
    (path / "run.json").write_text(text)
    (path / "left_over").mkdir()
    _, display = again(grid, ["grid"], runs=tmp_path, seeds=1)
    assert display.count("training") == 1
    assert (path / "left_over").exists()  # no run wrote it
    assert is_complete(path)
    np.testing.assert_array_equal(scores_of(path), before)
    _, forced = again(grid, ["grid"], runs=tmp_path, seeds=1, force=True)
    assert forced.count("training") == 1
    np.testing.assert_array_equal(scores_of(path), before)


def model_weights(path: Path) -> dict[str, np.ndarray]:
    import h5py

    found = {}
    with h5py.File(path / "model.weights.h5") as file:
        file.visititems(
            lambda name, node: found.update({name: node[()]}) if hasattr(node, "dtype") else None
        )
    return found


@pytest.fixture(scope="module")
def fitted(grid, tmp_path_factory):
    """The run of the fused recipe on the official split of a dataset, once for each dataset."""

    @functools.cache
    def run(options: str) -> Path:
        runs = tmp_path_factory.mktemp("fitted")
        data = f"drawn:official=yes{options}"
        result, _ = again(grid, [FUSED], data=data, runs=runs, seeds=1, split="official")
        rows = {row["recipe"]: row["runs"][0] for row in result["boards"][0]["rows"]}
        return runs / rows[FUSED]

    return run


@pytest.mark.parametrize("change", ["test_labels=flipped", "test_pixels=blank"])
def test_the_test_patients_shape_nothing_that_is_fitted(fitted, change):
    one, two = fitted(""), fitted(f",{change}")
    assert info_of(one)["fingerprint"] != info_of(two)["fingerprint"]
    for encoder in ("grid", "rows"):
        a, b = (dict(np.load(run / "encoders" / f"{encoder}.npz")) for run in (one, two))
        assert sorted(a) == sorted(b)
        for name, value in a.items():
            np.testing.assert_array_equal(value, b[name])
    first, second = model_weights(one), model_weights(two)
    assert sorted(first) == sorted(second)
    assert len(first) > 8
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    thresholds = [
        [label["threshold"] for label in json.loads((p / "labels.json").read_text())]
        for p in (one, two)
    ]
    assert thresholds[0] == thresholds[1]
    if change == "test_pixels=blank":
        assert not np.array_equal(scores_of(one), scores_of(two))
