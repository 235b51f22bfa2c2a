"""Scores written by hand, with matching SHA-256: found by computing them again."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_hostile_runs import rewrite

from cxrbench.errors import RunError
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import read_run
from cxrbench.runs.scores import verify_scores


@pytest.fixture
def runs(grid, tmp_path) -> Path:
    return Path(shutil.copytree(grid.runs, tmp_path / "runs"))


def run_in(runs: Path, start: str = "drawn-grid-probe-seed0") -> Path:
    return next(path for path in runs.iterdir() if path.name.startswith(start))


def change_json(run: Path, name: str, change) -> None:
    values = json.loads((run / name).read_text())
    change(values)
    rewrite(run, name, json.dumps(values).encode())


def change_arrays(run: Path, name: str, array: str) -> None:
    with np.load(run / name) as file:
        arrays = {key: file[key] for key in file.files}
    arrays[array] = arrays[array] + 0.01
    out = io.BytesIO()
    np.savez(out, **arrays)
    rewrite(run, name, out.getvalue())


FORGERIES = {
    "macro_auroc is 0.99": lambda run: change_json(
        run, "metrics.json", lambda v: v.update(macro_auroc=0.99)
    ),
    "macro_auroc_interval.0": lambda run: change_json(
        run, "metrics.json", lambda v: v["macro_auroc_interval"].__setitem__(0, 0.98)
    ),
    "patients is 5000": lambda run: change_json(
        run, "metrics.json", lambda v: v.update(patients=5000)
    ),
    "auroc is 0.99": lambda run: change_json(run, "labels.json", lambda v: v[0].update(auroc=0.99)),
    "recall is 0.99": lambda run: change_json(
        run, "labels.json", lambda v: v[1].update(recall=0.99)
    ),
    "subgroups": lambda run: change_json(
        run, "subgroups.json", lambda v: v[0].update(unknown=12345)
    ),
    "replicates of macro_auroc": lambda run: change_arrays(run, "bootstrap.npz", "macro_auroc"),
    "replicates of macro_brier": lambda run: change_arrays(
        run, "bootstrap_details.npz", "macro_brier"
    ),
}


def test_what_a_run_wrote_follows_from_its_predictions(runs):
    for path in runs.iterdir():
        if path.is_dir():
            verify_scores(read_run(path))


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_score_is_named(runs, what):
    run = run_in(runs)
    FORGERIES[what](run)
    with pytest.raises(RunError, match="do not follow from its predictions: .*" + what):
        verify_scores(read_run(run))


def test_scores_again_are_the_true_ones(cli, runs):
    run = run_in(runs)
    FORGERIES["macro_auroc is 0.99"](run)
    assert cli("score", run).code == 0
    verify_scores(read_run(run))


def test_a_board_leaves_out_forged_runs_where_it_verifies(cli, runs):
    run = run_in(runs)
    FORGERIES["macro_auroc is 0.99"](run)
    trusting = json.loads(cli("leaderboard", "--runs", runs, "--json").out)
    rows = trusting["boards"][0]["rows"]
    assert any(run.name in row["runs"] for row in rows)
    said = cli("leaderboard", "--runs", runs, "--verify", "--json")
    assert said.code == 0
    assert f"left out: the scores of the run {run.name!r} do not follow" in said.err
    verified = json.loads(said.out)
    assert [one["run"] for one in verified["skipped"]] == [run.name]
    rows = verified["boards"][0]["rows"]
    assert not any(run.name in row["runs"] for row in rows)
    assert len(rows) == len(trusting["boards"][0]["rows"])  # the other seed stays


def test_a_report_shows_no_forged_run(cli, runs, tmp_path):
    run = run_in(runs)
    FORGERIES["macro_auroc is 0.99"](run)
    report = ("report", "--runs", runs, "--cases", 0, "--output", tmp_path / "r.html")
    said = cli(*report)
    assert said.code == 0, said.err
    assert f"left out: the scores of the run {run.name!r}" in said.err
    assert "0.990 [" not in (tmp_path / "r.html").read_text()
    said = cli(*report, run)
    assert said.code == 2
    assert "do not follow from its predictions: macro_auroc is 0.99" in said.err


@pytest.mark.parametrize("column", ["image", "patient", "sex", "split"])
def test_predictions_with_a_text_that_is_no_utf8_are_damaged(runs, cli, column):
    """Arrow raises an exception of its own for it, which is no ValueError."""
    import pyarrow as pa
    from pyarrow import parquet

    run = run_in(runs)
    table = parquet.read_table(run / "predictions.parquet")
    rows = table.num_rows
    texts = pa.py_buffer(b"\xff" * rows)
    ends = pa.py_buffer(np.arange(rows + 1, dtype=np.int32).tobytes())
    bad = pa.StringArray.from_buffers(rows, ends, texts)
    out = io.BytesIO()
    parquet.write_table(table.set_column(table.column_names.index(column), column, bad), out)
    rewrite(run, "predictions.parquet", out.getvalue())
    with pytest.raises(RunError, match=r"predictions\.parquet of the run .* is damaged"):
        read_predictions(read_run(run))
    said = cli("score", run, "--runs", runs)
    assert said.code == 2
    assert "is damaged" in said.err
