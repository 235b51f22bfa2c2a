"""Processes that time hot paths: their order, their troubles, and what a change does to them."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise

import cv2
import numpy as np
import pytest
from conftest import Recorder
from timed_sides import environment, small_work

from cxrbench.errors import TimingError
from cxrbench.perf.comparison import GateSettings
from cxrbench.perf.gate import compare_sides
from cxrbench.perf.process import Environment, WorkerProcess
from cxrbench.perf.recordings import record_side
from cxrbench.perf.sampling import Schedule, Turn, orders, restart
from cxrbench.perf.sides import Side, this_environment
from cxrbench.perf.workload import write_drawn_films


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return small_work(tmp_path_factory.mktemp("films"))


def test_paths_are_timed_in_turn_in_processes_of_their_own(work):
    plan = Schedule((Environment(),) * 2, (Turn(0), Turn(1), Turn(1, 1.5)), 4, work)
    one = restart(plan, ["decode", "gather"], {}, seed=0)
    assert not one.troubles
    for path in ("decode", "gather"):
        seconds = one.seconds[path]
        assert seconds.shape == (4, 3, 2)
        assert (seconds > 0).all()
        assert one.calls[path] >= 1
        cpu = np.median(seconds[..., 1], axis=0)
        assert cpu[2] > 1.2 * min(cpu[:2]), "a slowdown that was asked for is there"
    assert one.images == {"decode": 2, "gather": 512}
    assert [told["python"] for told in one.versions] == [sys.version.split()[0]] * 2


def test_no_process_has_two_turns_in_a_row_and_each_has_one_in_every_round():
    turns = (Turn(0), Turn(1), Turn(2))
    found = list(orders(turns, 300, np.random.default_rng(0)))
    assert all(sorted(order) == [0, 1, 2] for order in found)
    together = [place for order in found for place in order]
    assert all(one != other for one, other in pairwise(together))
    # Each comes first, and after each other one, about equally often.
    for place in range(3):
        assert 60 < sum(order[0] == place for order in found) < 140
    follows = Counter(pairwise(together))
    assert len(follows) == 6
    assert max(follows.values()) < 1.5 * min(follows.values())


def test_one_process_has_all_turns_where_it_is_alone():
    assert list(orders((Turn(0),), 3, np.random.default_rng(0))) == [(0,), (0,), (0,)]
    levels = (Turn(0), Turn(1), Turn(1, 1.5))
    assert len(list(orders(levels, 50, np.random.default_rng(0)))) == 50


def test_a_path_that_fails_or_is_missing_or_kills_leaves_the_others(work, tmp_path):
    worse = environment(
        tmp_path,
        {
            "store/decoding.py": """
                def clahe(image):
                    raise ValueError("no tiles today")
            """,
            "modeling/inputs.py": """
                def killed(self, rows, draws=None):
                    import os
                    os._exit(7)
                Inputs.gather = killed
            """,
        },
    )
    plan = Schedule((Environment(), worse), (Turn(0), Turn(1)), 1, work)
    paths = ["clahe", "extract/nothing", "nonsense/x", "gather", "decode"]
    one = restart(plan, paths, {}, seed=0)
    assert list(one.seconds) == ["decode"]
    told = {path: [(t.environment, t.state) for t in found] for path, found in one.troubles.items()}
    assert told == {
        "clahe": [(1, "failed")],
        "extract/nothing": [(0, "missing"), (1, "missing")],
        "nonsense/x": [(0, "missing"), (1, "missing")],
        "gather": [(1, "died")],
    }
    assert "ValueError: no tiles today" in one.troubles["clahe"][0].error


def test_what_returns_at_once_is_no_hot_path(work, tmp_path):
    nothing = environment(tmp_path, {"store/decoding.py": "\ndef clahe(image):\n    pass\n"})
    plan = Schedule((nothing,), (Turn(0),), 1, work)
    (trouble,) = restart(plan, ["clahe"], {}, seed=0).troubles["clahe"]
    assert trouble.state == "failed"
    assert "returns immediately" in trouble.error


def test_a_python_that_cannot_start_is_told(work, tmp_path):
    with pytest.raises(TimingError, match="cannot be started"):
        WorkerProcess(Environment(python=str(tmp_path / "nowhere")), work)
    (tmp_path / "empty").mkdir()
    broken = Environment(packages=tmp_path / "empty", variables=(("PYTHONHOME", "/nonexistent"),))
    with (
        WorkerProcess(broken, work) as worker,
        pytest.raises(TimingError, match="hot paths ended"),
    ):
        worker.versions()


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(work, tmp_path):
    stuck = environment(
        tmp_path, {"store/decoding.py": "\ndef clahe(image):\n    import time; time.sleep(60)\n"}
    )
    with WorkerProcess(stuck, work) as worker:
        worker.versions()
        worker.ask(do="set up", path="clahe")
        with pytest.raises(TimingError, match="no answer in 1 seconds"):
            worker.ask(1.0, do="time", path="clahe", calls=1)


def test_prints_do_not_get_between_the_answers(work, tmp_path):
    loud = environment(tmp_path, {"store/decoding.py": "\nprint('hello from an import')\n"})
    with WorkerProcess(loud, work) as worker:
        worker.versions()
        assert worker.ask(do="set up", path="resize")["images"] == 8


def test_one_side_is_recorded(work):
    found = record_side(this_environment(), ["decode", "nonsense"], work, Recorder())
    assert found.samples.seconds["decode"].shape == (8, 6, 1, 2)
    assert found.absent["nonsense"].startswith("missing: ")
    assert found.machine.cores >= 1


def test_drawn_films_have_the_size_of_nihs(tmp_path):
    write_drawn_films(tmp_path, count=1)
    (film,) = tmp_path.iterdir()
    pixels = cv2.imdecode(np.frombuffer(film.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (1024, 1024)


@pytest.mark.slow
def test_a_change_of_the_code_is_found_and_what_is_as_it_was_is_not_blamed(work, tmp_path):
    slower = environment(
        tmp_path,
        {
            "store/decoding.py": """
                _once = clahe
                def clahe(image):
                    _once(image)
                    return _once(image)
            """
        },
    )
    sides = this_environment(), Side("slower", "slower", slower)
    options = GateSettings(budget=120)
    found = compare_sides(
        sides, ["clahe", "decode"], work, options, Recorder(), lambda so_far: None
    )
    assert found.verdicts["clahe"].state == "slower"
    assert 1.7 < found.verdicts["clahe"].ratio < 2.3
    assert found.verdicts["decode"].state in ("no change", "cannot tell")
