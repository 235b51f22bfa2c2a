"""Folders, tables, images and disks as they should not be: one clear message, exit code 2."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from contextlib import contextmanager

import pytest
from conftest import Said

from cxrbench.runs.directory import is_complete


@pytest.fixture
def nih(tiny_nih, tmp_path):
    """A copy of the cohort that a test may spoil."""
    return shutil.copytree(tiny_nih, tmp_path / "nih")


@pytest.fixture
def run(cli, tmp_path):
    """Measure the prior, which needs the images read and nothing trained."""

    def measure(data, *more, recipe="prior") -> Said:
        where = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
        fractions = ("--fractions", "0.5,0.2,0.3")
        return cli("run", recipe, "--data", data, *where, *fractions, *more)

    return measure


def refused(said: Said, *told: str) -> None:
    """One message with what was expected or found and what to do, and nothing else."""
    assert said.code == 2
    assert "Traceback" not in said.out + said.err
    message = said.err[said.err.index("cxrbench: ") :]
    assert "\n  to do: " in message
    for words in told:
        assert words in " ".join(message.split())


def nothing_looks_complete(tmp_path) -> bool:
    folder = tmp_path / "runs"
    return not folder.exists() or not any(is_complete(p) for p in folder.iterdir() if p.is_dir())


def table(nih, change) -> None:
    path = nih / "Ground_Truth.csv"
    path.write_text(change(path.read_text()))


def test_a_cohort_that_is_as_it_should_be(run, nih):
    said = run(nih)
    assert said.code == 0
    assert "prior" in said.out


TABLES = {
    "missing column": (lambda s: s.replace("Finding Labels", "Found"), "Finding Labels"),
    "empty file": (lambda s: "", "Ground_Truth.csv"),
    "header only": (lambda s: s.splitlines()[0] + "\n", "Ground_Truth.csv"),
    "unknown label": (lambda s: s.replace("Effusion", "Effussion"), "Effussion"),
    "binary": (lambda s: "\x00\x01" * 50, "Ground_Truth.csv"),
    "contradicting rows": (
        lambda s: s + "00000001_000.png,Hernia,0,1,40,M,PA\n",
        "00000001_000",
    ),
    "two patients": (lambda s: "".join(s.splitlines(keepends=True)[:4]), "patient"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_used(run, nih, tmp_path, name):
    change, told = TABLES[name]
    table(nih, change)
    refused(run(nih), told)
    assert nothing_looks_complete(tmp_path)


def test_a_missing_folder_table_or_image_folder(run, nih, tmp_path):
    refused(run(tmp_path / "nothing"), "there is no such file, folder or dataset")
    shutil.rmtree(nih / "images")
    refused(run(nih), "images")
    (nih / "Ground_Truth.csv").unlink()
    refused(run(nih), "no dataset has this layout")
    refused(run(f"nih:path={nih}"), "Ground_Truth.csv")


def test_rows_that_are_there_twice_are_used_once_and_told(run, nih):
    table(nih, lambda s: s + s.splitlines()[1] + "\n")
    said = run(nih, "--json")
    assert said.code == 0
    assert "twice" in said.err
    row = json.loads(said.out)["boards"][0]["rows"][0]
    table(nih, lambda s: "\n".join(s.splitlines()[:-1]) + "\n")
    clean = json.loads(run(nih, "--json").out)["boards"][0]["rows"][0]
    assert row["fingerprint"] == clean["fingerprint"]


def one_pixel() -> bytes:
    import cv2
    import numpy as np

    return cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()


@pytest.mark.parametrize("name", ["empty", "truncated", "tiny", "text"])
def test_a_broken_image_is_left_out_with_a_reason_or_stops_the_run(run, nih, tmp_path, name):
    path = nih / "images" / "00000003_000.png"
    whole = path.read_bytes()
    spoilt = {"empty": b"", "truncated": whole[:700], "tiny": one_pixel(), "text": b"no image"}
    path.write_bytes(spoilt[name])
    refused(run(nih), "1 of 60 images", "00000003_000", "--max-bad")
    assert nothing_looks_complete(tmp_path)
    said = run(nih, "--max-bad", 0.05)
    assert said.code == 0
    assert "1 of 60 images are excluded" in said.out
    assert "00000003_000" in said.out
    (folder,) = [p for p in (tmp_path / "runs").iterdir() if p.is_dir()]
    rows = (folder / "excluded.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["image_id", "00000003_000"]


@contextmanager
def small_files(limit: int):
    """No file of this process grows beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_in_the_cache(run, nih, tmp_path):
    with small_files(50_000):
        said = run(nih, "--weights", "none", recipe="tinynet")
    refused(said, "not enough room for the cache", "--cache")
    assert not list((tmp_path / "cache").glob("*/*/complete.json"))
    assert nothing_looks_complete(tmp_path)


def test_a_full_disk_in_the_run_directory(run, nih, tmp_path):
    said = run(nih)
    assert said.code == 0
    shutil.rmtree(tmp_path / "runs")
    with small_files(3000):
        said = run(nih)
    refused(said, "not enough room for the run in", "File too large", "--runs")
    assert nothing_looks_complete(tmp_path)
    assert run(nih).code == 0
    assert not nothing_looks_complete(tmp_path)


def test_no_room_for_the_model_is_told_before_it_is_written(run, nih, tmp_path, monkeypatch):
    class Full:
        @staticmethod
        def require_room(folder, needed):
            from cxrbench.errors import RunError

            assert needed > 500
            raise RunError("not enough room for the run", fix="make room")

    monkeypatch.setattr("cxrbench.experiment.record.RUN", Full)
    said = run("drawn", "--epochs", 1, "--head", "mlp", recipe="grid")
    refused(said, "not enough room for the run")
    assert nothing_looks_complete(tmp_path)


def test_a_full_disk_wherever_it_is_found(run, nih, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/x")

    monkeypatch.setattr("cxrbench.experiment.single_run.predict_prior", full)
    refused(run(nih), "the disk is full: /somewhere/x")


def test_a_runs_folder_that_is_a_file(cli, nih, tmp_path):
    (tmp_path / "file").touch()
    said = cli("run", "prior", "--data", nih, "--runs", tmp_path / "file", "--cache",
               tmp_path / "cache", "--fractions", "0.5,0.2,0.3")  # fmt: skip
    refused(said, "cannot write the run in", "File exists")
    said = cli("leaderboard", "--runs", tmp_path / "file")
    refused(said, "there are no runs")


def test_a_cache_folder_that_is_a_file(cli, nih, tmp_path):
    (tmp_path / "file").touch()
    said = cli("run", "prior", "--data", nih, "--cache", tmp_path / "file", "--runs",
               tmp_path / "runs", "--fractions", "0.5,0.2,0.3")  # fmt: skip
    refused(said, "cache", "--cache")


def test_a_corrupt_cache_is_built_again_and_said(run, nih, tmp_path):
    first = json.loads(run(nih, "--json").out)
    for path in (tmp_path / "cache").glob("*/*/journal.jsonl"):
        path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    shutil.rmtree(tmp_path / "runs")
    said = run(nih, "--json")
    assert said.code == 0
    assert "is damaged and is built again" in said.err
    rows = [board["boards"][0]["rows"][0] for board in (first, json.loads(said.out))]
    assert rows[0] == rows[1]


def test_a_run_whose_scores_were_changed_is_not_used_as_it_is(run, nih, tmp_path):
    assert run(nih).code == 0
    (path,) = (tmp_path / "runs").glob("*/metrics.json")
    path.write_text("{}")
    refused(run(nih), "was changed after the run", "--force")
    assert run(nih, "--force").code == 0
