"""``cxrbench run`` and ``cxrbench leaderboard``: what they print, and how they end."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import install, spawn

from cxrbench.errors import DataError
from cxrbench.runs.directory import is_complete

RECIPES = ("tinynet", "tinynet+grid+rows:words=8", "grid")
OPTIONS = (
    *("--data", "drawn", "--protocol", "probe", "--head", "mlp"),
    *("--epochs", 2, "--batch-size", 16),
)


def command(grid, *more):
    where = ("--runs", grid.runs, "--cache", grid.cache)
    return ("run", *RECIPES, *OPTIONS, "--seeds", 2, *where, *more)


def test_json_from_run_leaderboard_and_python_is_the_same(cli, grid):
    first = cli(*command(grid, "--json", "--per-label"))
    assert (first.code, json.loads(first.out)) == (0, grid.result)
    assert "already complete, used as it is" in first.err
    assert "data: drawn" in first.err
    second = cli("leaderboard", "--runs", grid.runs, "--format", "json", "--per-label")
    assert json.loads(second.out) == grid.result


def test_the_table_names_every_recipe(cli, grid):
    said = cli(*command(grid))
    assert said.code == 0
    for recipe in (*RECIPES, "prior"):
        assert recipe in said.out
    assert "data: drawn" in said.out
    assert said.err == ""


@pytest.mark.parametrize("more", [(), ("--per-label",)])
def test_csv_has_the_keys_of_json(cli, grid, more):
    said = cli("leaderboard", "--runs", grid.runs, "--format", "csv", *more)
    rows = list(csv.DictReader(io.StringIO(said.out)))
    plain = grid.result["boards"][0]["per_label" if more else "rows"]
    assert [list(row) for row in rows] == [list(row) for row in plain]
    assert [row["recipe"] for row in rows] == [row["recipe"] for row in plain]


def test_a_skipped_run_is_told_in_every_format(cli, grid, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run.json").write_text("{}")
    table = cli("leaderboard", "--runs", tmp_path)
    assert table.code == 0
    assert "no complete run yet" in table.out
    assert "left out: the run 'odd'" in table.err
    told = json.loads(cli("leaderboard", "--runs", tmp_path, "--json").out)
    assert [run["run"] for run in told["skipped"]] == ["odd"]
    csv_said = cli("leaderboard", "--runs", tmp_path, "--format", "csv")
    assert "left out: the run 'odd'" in csv_said.err
    assert csv_said.out.count("\n") == 1


WRONG = {
    "no recipe": (("run",), "no recipe was given"),
    "unknown command": (("runn", "orb"), "cxrbench has no command 'runn'"),
    "unknown option": (("run", "orb", "--dta", "x"), "run has no option --dta"),
    "no number": (("run", "orb", "--epochs", "many"), "--epochs cannot be 'many'"),
    "no seeds": (("run", "orb", "--seeds", "0"), "--seeds cannot be 0"),
    "format": (("run", "orb", "--format", "xml"), "--format cannot be 'xml'"),
    "recipe": (("run", "obr"), "Did you mean 'orb'?"),
    "data": (("run", "orb", "--data", "/nothing/here"), "there is no such file"),
    "fractions": (("run", "orb", "--fractions", "a,b"), "--fractions cannot be 'a,b'"),
    "fractions sum": (("run", "orb", "--fractions", "1,1,1"), "--fractions cannot be"),
    "protocol": (("run", "orb", "--protocol", "x"), "--protocol cannot be 'x'"),
    "split": (("run", "orb", "--split", "x"), "--split cannot be 'x'"),
    "device": (("run", "orb", "--device", "tpu"), "--device cannot be 'tpu'"),
    "weights": (("run", "resnet", "--weights", "/no.h5"), "there is no such file"),
    "no runs": (("leaderboard", "--runs", "/nothing/here"), "there are no runs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_one_message_and_exit_code_2(cli, tmp_path, name):
    arguments, told = WRONG[name]
    more = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    said = cli(*arguments, *(more if arguments[0] == "run" else ()))
    assert said.code == 2
    assert said.out == ""
    assert told in " ".join(said.err.replace("│", " ").split())
    assert "Traceback" not in said.err
    assert not list(tmp_path.iterdir())


def run_directories(folder):
    return [path for path in folder.glob("*") if path.is_dir()] if folder.exists() else []


def wait_until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def slow_run(tmp_path):
    """A run in its own process, long in training, or with ``pause`` in reading images."""
    install(tmp_path / "site", "cxrbench-tiny", "tiny_parts")

    def start(*more, epochs=2, pause=0.0):
        data = f"drawn:pause={pause}" if pause else "drawn"
        options = ("--data", data, "--epochs", epochs, "--patience", 10**6, "--json",
                   "--head", "mlp")  # fmt: skip
        where = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache", "--threads", 1)
        return spawn("run", "grid", *options, *where, *more, site=tmp_path / "site")

    return start


def test_a_run_killed_in_training_is_marked(slow_run, tmp_path, cli):
    process = slow_run(epochs=10**5)
    wait_until(lambda: run_directories(tmp_path / "runs"), process)
    time.sleep(1.5)
    process.kill()
    process.communicate()
    (path,) = run_directories(tmp_path / "runs")
    assert not is_complete(path)
    board = cli("leaderboard", "--runs", tmp_path / "runs")
    assert "is incomplete" in board.err
    assert "no complete run yet" in board.out


def test_ctrl_c_in_training_ends_with_130_and_without_a_traceback(slow_run, tmp_path):
    process = slow_run(epochs=10**5)
    wait_until(lambda: run_directories(tmp_path / "runs"), process)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "interrupted" in err
    assert not any(is_complete(path) for path in run_directories(tmp_path / "runs"))


def test_ctrl_c_while_images_are_read(slow_run, tmp_path):
    process = slow_run(pause=0.2)
    stores = tmp_path / "cache"
    wait_until(lambda: list(stores.glob("*/*/journal.jsonl")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert not list(stores.glob("*/*/complete.json"))
    assert not run_directories(tmp_path / "runs")


@pytest.mark.parametrize(
    ("options", "answer", "code"),
    [((), "n", 1), ((), "", 2), (("--yes",), None, 2), (("--limit", 50), None, 2),
     (("--quiet",), None, 2), (("--data", "drawn"), None, 2)],
)  # fmt: skip
def test_forgotten_data_are_confirmed_in_a_terminal(
    options, answer, code, cli, tmp_path, monkeypatch
):
    def stop(request, display):
        raise DataError("it goes on")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cxrbench.benchmark.measure", stop)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("" if answer is None else f"{answer}\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    said = cli("run", "orb", "tinynet+grid", *options)
    assert said.code == code
    question = (
        "No --data. Draw 1,349 artificial images (phantom), and train orb, tinynet+grid? [Y/n]"
    )
    assert (question in said.err) == (answer is not None)
    assert ("it goes on" in said.err) == (code == 2)


def test_without_a_terminal_nothing_is_confirmed(tmp_path):
    """Also where an answer would be read."""
    environment = {**os.environ, "CXRBENCH_CACHE": str(tmp_path)}
    command = [
        sys.executable,
        "-c",
        "from cxrbench.cli import main; main()",
        "run",
        "orb",
        "--weights",
        "orb=nowhere.h5",
    ]
    done = subprocess.run(
        command, input="n\n", capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 2
    assert "--weights orb=nowhere.h5" in done.stderr
    assert "[Y/n]" not in done.stdout + done.stderr
