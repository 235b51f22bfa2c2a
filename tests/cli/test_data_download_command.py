"""``cxrbench data download`` as a user types it: killed, resumed, verified, listed, refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import environment, take_signals
from scripted_server import Answer, serve
from small_cohort import CONTENT, STEMS, SmallCohort

from cxrbench.builtin.nih import NIH
from cxrbench.output.files import size_text


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setattr("cxrbench.data.download.catalog.SOURCES", {"small": SmallCohort})
    with serve(CONTENT) as server:
        yield server


@pytest.fixture
def download(cli, mirror, tmp_path):
    def run(*more: object):
        where = ("--into", tmp_path / "my cohort", "--base-url", mirror.url)
        return cli("data", "download", "small", *where, *more)

    return run


def test_a_cohort_is_fetched_and_the_next_command_told(download, mirror, tmp_path):
    said = download()
    assert said.code == 0, said.err
    assert "4 files verified, 8 images" in said.out
    assert f"Next: cxrbench run resnet+orb --data '{tmp_path / 'my cohort'}/'" in said.out

    again = download()
    assert "complete already; nothing was downloaded" in again.out
    assert len(mirror.seen) == len(CONTENT)


def test_json_is_alone_on_standard_output(download, tmp_path):
    told = json.loads(download("--json", "--keep-archives").out)
    assert told["complete"] is told["fetched"] is True
    assert told["folder"] == str(tmp_path / "my cohort")
    assert [file["name"] for file in told["files"]] == list(CONTENT)
    assert all(file["there"] and len(file["sha256"]) == 64 for file in told["files"])

    assert json.loads(download("--json").out)["fetched"] is False
    assert "2 archives kept in" in download().out


def test_a_dry_run_lists_and_fetches_nothing(download, mirror, tmp_path):
    said = download("--dry-run")
    assert said.code == 0
    for name, data in CONTENT.items():
        assert f"{mirror.url}/{name}" in said.out
        assert size_text(len(data)) in said.out
    assert "MD5 by nobody" in said.out
    assert "4 files missing" in said.out
    told = json.loads(download("--dry-run", "--json").out)
    assert told["complete"] is told["fetched"] is False
    assert [file["size"] for file in told["files"]] == [len(data) for data in CONTENT.values()]
    assert mirror.seen == []
    assert list(tmp_path.iterdir()) == []


def test_the_real_ones_can_be_listed_without_a_network(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "images_012.tar.gz" in cli("data", "download", "nih", "--dry-run").out
    said = cli("data", "download", "chestmnist", "--dry-run", "--json")
    assert json.loads(said.out)["files"][0]["name"] == "chestmnist_224.npz"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=404), "404 Not Found"),
        (Answer(status=403), "403 Forbidden"),
        (Answer(body=b"short"), "5 bytes"),
        (Answer(status=429, headers={"Retry-After": "1000"}), "1,000 seconds"),
        (Answer(body=CONTENT["test_list.txt"][::-1]), "is not the published file"),
    ],
)
def test_each_failure_is_one_error(download, mirror, answer, words):
    mirror.usual = answer
    said = download()
    assert (said.code, said.out) == (2, "")
    assert said.err.count("cxrbench: ") == 1
    for part in (words, "expected:", "got:", "to do:"):
        assert part in said.err
    assert "Traceback" not in said.err


def test_an_unknown_cohort_is_explained(cli):
    said = cli("data", "download", "nhi")
    assert said.code == 2
    assert "Did you mean 'nih'?" in said.err


_SMALL = """
from cxrbench.data.download import catalog
from small_cohort import SmallCohort
catalog.SOURCES = {"small": SmallCohort}
from cxrbench.cli import main
main()
"""


def start(mirror, folder: Path) -> subprocess.Popen[str]:
    where = ("--into", str(folder), "--base-url", mirror.url)
    return subprocess.Popen(
        [sys.executable, "-c", _SMALL, "data", "download", "small", *where],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        preexec_fn=take_signals,
    )  # fmt: skip


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def part_of(folder: Path, name: str) -> int:
    part = folder / "downloads" / f"{name}.part"
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def finish(mirror, folder: Path) -> None:
    process = start(mirror, folder)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "is complete" in out
    cohort = NIH(path=str(folder)).load()
    assert (cohort.image_ids, cohort.excluded) == (STEMS, ())


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_it_goes_on_from_there(mirror, tmp_path, end):
    mirror.usual = Answer(trickle=0.03)
    process = start(mirror, tmp_path)
    wait_for(lambda: part_of(tmp_path, "images_002.tar.gz") > 0)
    process.send_signal(end)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL), err
    had = part_of(tmp_path, "images_002.tar.gz")
    assert 0 < had < len(CONTENT["images_002.tar.gz"])
    assert (tmp_path / "images_001" / "images").is_dir()
    assert not (tmp_path / "images_002").exists()
    assert NIH.recognise(tmp_path) is None

    mirror.usual = Answer()
    before = len(mirror.seen)
    finish(mirror, tmp_path)
    assert mirror.seen[before:] == [("/images_002.tar.gz", f"bytes={had}-")]


@pytest.mark.slow
def test_killed_twenty_times_it_still_ends_whole(mirror, tmp_path):
    mirror.usual = Answer(trickle=0.02)
    rng = np.random.default_rng(0)
    for kill in range(20):
        process = start(mirror, tmp_path / str(kill % 4))
        time.sleep(rng.uniform(0.2, 1.6))
        process.kill()
        process.communicate()
    for number in range(4):
        finish(mirror, tmp_path / str(number))


def test_two_at_once_take_turns(mirror, tmp_path):
    mirror.usual = Answer(trickle=0.01)
    first, second = start(mirror, tmp_path), start(mirror, tmp_path)
    said = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert sorted(path for path, _ in mirror.seen) == sorted(f"/{name}" for name in CONTENT)
