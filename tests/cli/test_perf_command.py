"""``cxrbench perf compare`` and ``history``: what is printed, written and returned."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from recorded import recording

from cxrbench.perf.recordings import append_recording


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.jsonl"
    append_recording(recording("aaaa1111"), path)
    append_recording(recording("bbbb2222", {"decode": 0.3}, seed=1), path)
    append_recording(recording("cccc3333", {"decode": 0.3}, seed=2), path)
    return path


def test_a_regression_is_exit_code_1_and_in_every_format(cli, history, tmp_path):
    markdown, folder = tmp_path / "out" / "comment.md", tmp_path / "json"
    sides = (f"{history}@aaaa", f"{history}@bbbb")
    said = cli(
        *("perf", "compare", *sides, "--markdown", markdown, "--benchmark-json", folder),
    )
    assert said.code == 1, said.err
    assert "Slower: decode" in said.out
    assert "revision aaaa1111" in said.out
    assert "python 3.11.0" in said.out
    text = markdown.read_text()
    assert text.startswith("### Slower: decode\n")
    assert "| decode | slower |" in text
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["0001_base.json", "0002_head.json"]
    told = json.loads(cli("perf", "compare", *sides, "--json").out)
    assert told["paths"]["decode"]["state"] == "slower"
    assert told["paths"]["resize"]["state"] == "no change"


def test_a_comparison_of_recordings_is_stored_where_output_says(cli, history, tmp_path):
    sides = (f"{history}@aaaa", f"{history}@bbbb")
    said = cli("perf", "compare", *sides, "--output", tmp_path / "new" / "samples.json")
    stored = json.loads((tmp_path / "new" / "samples.json").read_text())
    assert (said.code, stored["head"]["commit"]) == (1, "bbbb2222")
    assert stored == json.loads(cli("perf", "compare", *sides, "--json").out)


def test_pytest_benchmark_reads_what_is_written_for_it(cli, history, tmp_path):
    cli("perf", "compare", f"{history}@aaaa", f"{history}@bbbb", "--benchmark-json", tmp_path / "b")
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "--columns=median,rounds"]
    files = map(str, sorted((tmp_path / "b").iterdir()))
    done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "decode (b/0002_head)" in done.stdout
    assert "resize (b/0001_base)" in done.stdout


def test_the_same_is_exit_code_0(cli, history):
    said = cli("perf", "compare", f"{history}@bbbb", f"{history}@cccc")
    assert said.code == 0, said.err
    assert "No path is slower" in said.out


def test_only_the_paths_that_are_named_are_compared(cli, history):
    sides = (f"{history}@aaaa", f"{history}@bbbb")
    told = json.loads(cli("perf", "compare", *sides, "--path", "resize", "--json").out)
    assert list(told["paths"]) == ["resize"]
    said = cli("perf", "compare", *sides, "--path", "clahe")
    assert said.code == 2
    assert "no recording has the path 'clahe'" in said.err


def test_what_cannot_be_told_passes_loudly_or_fails_as_asked(cli, history):
    sides = (f"{history}@bbbb", f"{history}@cccc", "--threshold", "0.001")
    said = cli("perf", "compare", *sides)
    assert said.code == 0
    assert "Inconclusive for all paths" in said.err
    for option in ("--inconclusive", "--cannot-tell"):
        assert cli("perf", "compare", *sides, option, "fail").code == 1


def test_different_versions_are_in_the_header(cli, history):
    lines = history.read_text().splitlines()
    history.write_text("\n".join([lines[0], lines[1].replace("3.11.0", "3.12.9")]) + "\n")
    said = cli("perf", "compare", f"{history}@aaaa", history)
    assert "DIFFERENT VERSIONS on base and head: python 3.11.0 and 3.12.9" in said.out


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (["{history}", "HEAD"], "one side is a recording and the other is not"),
        (["{history}@dddd", "{history}"], "has no recording of 'dddd'"),
        (["{history}.json", "{history}"], "cannot be read"),
        (["no-such-thing", "HEAD"], "no-such-thing"),
        (["HEAD", "HEAD", "--path", "decoed"], "there is no hot path 'decoed'"),
    ],
)
def test_sides_that_cannot_be_compared_are_exit_code_2(cli, history, sides, said, monkeypatch):
    monkeypatch.chdir(history.parent)
    found = cli("perf", "compare", *(text.format(history=history) for text in sides))
    assert found.code == 2
    assert said in found.err
    assert "expected:" in found.err


def test_a_history_is_a_table_a_plot_and_json(cli, history, tmp_path):
    said = cli("perf", "history", history, "--output", tmp_path / "plot.png")
    assert said.code == 0, said.err
    assert "cccc3333" in said.out
    assert "decode" in said.out
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(cli("perf", "history", history, "--json", "--path", "decode").out)
    assert [one["commit"] for one in told] == ["aaaa1111", "bbbb2222", "cccc3333"]
    assert list(told[0]["milliseconds"]) == ["decode"]
    assert told[1]["milliseconds"]["decode"] == pytest.approx(13, rel=0.02)


def test_a_history_that_has_not_what_is_asked_for(cli, history, tmp_path):
    said = cli("perf", "history", history, "--path", "nothing")
    assert said.code == 2
    assert "expected: decode, resize" in said.err
    assert cli("perf", "history", history, "--output", tmp_path / "plot.pdf").code == 2
    assert cli("perf", "history", tmp_path / "none.jsonl").code == 2
    assert cli("perf", "record", "--history", tmp_path / "history.txt").code == 2


@pytest.mark.slow
def test_a_side_is_recorded_and_compared_with_itself(cli, tmp_path, monkeypatch):
    history, paths = tmp_path / "h.jsonl", ["--path", "resize", "--path", "gather"]
    python = sys.executable
    assert cli("perf", "record", python, "--history", history, *paths).code == 0
    told = cli("perf", "compare", python, python, *paths, "--budget", "20", "--json",
               "--output", tmp_path / "kept.json", "--cache", tmp_path)  # fmt: skip
    assert told.code == 0, told.err
    found = json.loads(told.out)
    assert found == json.loads((tmp_path / "kept.json").read_text())
    assert {one["state"] for one in found["paths"].values()} <= {"no change", "cannot tell"}
