"""Latency: measured once a run, kept with it, and a column of the board."""

from __future__ import annotations

import json

import pytest

import cxrbench
from cxrbench.errors import RunError
from cxrbench.runs.additions import stored_latency
from cxrbench.runs.run import read_run


@pytest.fixture(scope="module")
def measured(tiny_plugin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("latency")
    options = {"data": "drawn", "runs": folder / "runs", "cache": folder / "cache", "epochs": 1}
    cxrbench.run("grid", **options)
    return folder, options, cxrbench.run("grid", latency=True, **options)


def test_it_is_a_column_of_the_board_and_of_a_complete_run(measured):
    folder, _, result = measured
    rows = {row["recipe"]: row for row in result["boards"][0]["rows"]}
    (path,) = (folder / "runs").glob("drawn-grid-*")
    told = json.loads((path / "latency.json").read_text())
    assert rows["grid"]["latency_seconds"] == told["latency_seconds"]
    assert 0 < told["latency_seconds"] <= told["slowest_seconds"] < 60
    assert told["images"] > 0
    assert rows["prior"]["latency_seconds"] is None


def test_it_is_measured_once(measured):
    _, options, result = measured
    again = cxrbench.run("grid", latency=True, **options)
    assert again["boards"] == result["boards"]


def test_a_changed_file_is_refused(measured):
    folder, _, _ = measured
    (path,) = (folder / "runs").glob("drawn-grid-*")
    run = read_run(path)
    kept = (path / "latency.json").read_bytes()
    (path / "latency.json").write_text('{"latency_seconds": 0.0}')
    with pytest.raises(RunError, match="was changed"):
        _ = stored_latency(run)
    (path / "latency.json").write_bytes(kept)
