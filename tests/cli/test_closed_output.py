"""Outputs that end early, places that cannot be written, seeds too large: one message each."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from conftest import environment

COMMAND = "from cxrbench.cli import main; main()"
LISTS = (("plugins", "list", "--format", "html"), ("leaderboard", "--json"))


def shell(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What a shell says of ``text``, where ``"$@"`` is the command line with these arguments."""
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {text}", "bash", *command],
        capture_output=True,
        text=True,
        env=environment(),
    )


@pytest.mark.parametrize("arguments", LISTS)
@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('"$@" | true', 2, "the output is incomplete: its reader has ended"),
        ('"$@" > /dev/full', 2, "the disk is full: No space left on device"),
    ],
)
def test_an_output_that_cannot_be_written(grid, arguments, text, code, message):
    more = ("--runs", grid.runs) if arguments[0] == "leaderboard" else ()
    said = shell(f"({text})", *arguments, *more)
    assert said.returncode == code, said.stderr
    assert said.stderr.count("cxrbench: ") == 1
    assert f"cxrbench: {message}" in said.stderr
    assert "Traceback" not in said.stderr
    assert "Exception ignored" not in said.stderr


def test_a_closed_output_is_no_error(grid):
    said = shell('("$@" >&-)', "leaderboard", "--json", "--runs", grid.runs)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("option", ["--seed", "--split-seed"])
def test_a_seed_of_more_than_32_bits(cli, option, tmp_path):
    said = cli("run", "grid", "--data", "drawn", option, 2**32, "--runs", tmp_path)
    assert said.code == 2
    assert f"{option} cannot be 4294967296" in said.err
    assert "from 0 to 4294967295" in said.err


def test_seeds_that_go_beyond_32_bits(cli, tmp_path):
    said = cli("run", "grid", "--seed", 2**32 - 2, "--seeds", 3, "--runs", tmp_path)
    assert (said.code, "4294967294 to 4294967296" in said.err) == (2, True)


@pytest.mark.parametrize("command", ["score", "localise"])
def test_a_run_that_cannot_be_written(cli, grid, tmp_path, command):
    source = grid.run_of("tinynet")
    run = shutil.copytree(source, tmp_path / "runs" / source.name)
    # Links are refused even to those who may write everywhere, as in a folder of others.
    (run.parent / f".{run.name}.lock").symlink_to(tmp_path / "elsewhere")
    data = ("--data", "drawn") if command == "localise" else ()
    said = cli(command, run, *data, "--cache", grid.cache) if data else cli(command, run)
    assert said.code == 2
    assert "cannot write the scores of" in said.err
    assert not (tmp_path / "elsewhere").exists()


def test_a_path_that_cannot_be_read_is_one_message(cli, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", "/somewhere/x")

    monkeypatch.setattr("cxrbench.runs.selection.read_runs", lambda *a, **k: refused(a))
    said = cli("leaderboard")
    assert (said.code, said.err) == (
        2,
        "cxrbench: a file cannot be read or written: /somewhere/x\n  got: Permission denied\n"
        "  to do: check the file and its folder, then run the same command again; completed work "
        "is kept\n",
    )


@pytest.mark.parametrize("streams", ["<&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(streams):
    said = shell(f'("$@" {streams})', "--version")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("cxrbench ") is (">&-" not in streams.split())
