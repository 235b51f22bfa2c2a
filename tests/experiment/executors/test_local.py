"""The local executor: everything here, one after another, and Ray is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from conftest import environment

from cxrbench.experiment.executors import open_executor
from cxrbench.experiment.executors.interface import Needs

_RUN = """
import sys
from pathlib import Path
import cxrbench.benchmark
from cxrbench.experiment.executors import open_executor
from cxrbench.experiment.executors.interface import Needs
from cxrbench.output.display import SilentDisplay
needs = Needs(Path("runs"), Path("cache"), "auto", 1, None, ())
with open_executor("local", None, needs, SilentDisplay()) as executor:
    print(executor.compute(lambda item, place: item, [("a", 1)]), "ray" in sys.modules)
"""


def needs(tmp_path, threads=None) -> Needs:
    return Needs(tmp_path / "runs", tmp_path / "cache", "auto", 1, threads, ())


def test_items_are_taken_one_after_another_in_order(tmp_path, recorder):
    done = []

    def items():
        for number in range(3):
            assert done == list(range(number))
            yield str(number), number

    def work(item, place):
        assert (place.executor, place.attempt, place.display) == ("local", 0, recorder)
        done.append(item)
        return item * 10

    with open_executor("local", None, needs(tmp_path), recorder) as executor:
        assert executor.compute(work, items()) == [0, 10, 20]
        assert executor.threads == len(os.sched_getaffinity(0))
        assert list(executor.in_order(lambda row: row, range(5), 2)) == [0, 1, 2, 3, 4]
    with open_executor("local", None, needs(tmp_path, 3), recorder) as executor:
        assert executor.threads == 3


def test_ray_is_not_imported():
    done = subprocess.run(
        [sys.executable, "-c", _RUN], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == "[1] False\n"


def test_a_run_says_that_it_was_computed_here(grid):
    told = json.loads((grid.run_of("tinynet") / "run.json").read_text())
    assert (told["executor"], told["node"]) == ("local", os.uname().nodename)


def test_without_ray_the_error_says_what_to_install(tmp_path, cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    said = cli("run", "prior", "--executor", "ray", "--data", "drawn", "--runs", tmp_path)
    assert said.code == 2
    assert 'pip install "cxrbench[ray]"' in said.err
