"""Wall time, shared out to stages: nothing is lost, and what cannot be seen is not said."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from cxrbench.builtin.phantom import Phantom
from cxrbench.experiment.plans import make_plans
from cxrbench.experiment.single_run import PlannedRun, planned_runs
from cxrbench.experiment.stages import STAGES, Clock, stage_seconds, stages_text
from cxrbench.request import Request


def test_a_clock_adds_up_what_passed_before_each_stop():
    clock = Clock()
    for stage in ("save", "score", "save"):
        time.sleep(0.01)
        clock.stop(stage)
    assert list(clock.laps) == ["save", "score"]
    assert clock.laps["save"] >= 0.02
    assert sum(clock.laps.values()) == pytest.approx(clock.elapsed(), abs=0.05)


def test_what_no_stage_covers_is_other_and_the_order_is_that_of_a_run():
    own = ({"encode": 2.0, "train": 5.0}, {"save": 1.0, "score": 3.0}, {"save": 0.5})
    told = stage_seconds({"start": 1.0, "prepare": 9.0}, own, 12.0)
    assert told == {
        **{"start": 1.0, "prepare": 9.0, "encode": 2.0, "train": 5.0},
        **{"score": 3.0, "save": 1.5, "other": 0.5},
    }
    assert list(told) == [stage for stage in STAGES if stage in told]


def test_a_line_leaves_out_what_is_shown_as_nothing_and_sets_apart_what_is_shared():
    told = {"start": 0.01, "prepare": 1234.56, "encode": 0.04, "train": 0.05, "save": 2.0}
    assert (
        stages_text(told)
        == "train 0.1 s, save 2.0 s; shared by all runs: image preparation 1,234.6 s"
    )
    assert stages_text({"other": 0.001}) == "under 0.1 s"


def test_a_run_says_which_of_the_grid_it_is_and_what_is_left(registry):
    plan = make_plans(["orb"], registry, {}, Phantom())[0]
    run = PlannedRun(plan, 1, {}, 3, 15, 250.0)
    place = Path("runs/x")
    said = "run 3 of 15: orb (seed 1) in runs/x"
    assert run.announcement(place, alone=True) == f"{said} (about 4 min left)"
    assert run.announcement(place, alone=False) == said
    assert replace(run, left=20.0).announcement(place, alone=True) == said
    assert replace(run, left=None).announcement(place, alone=True) == said
    assert PlannedRun(plan, 1, {}).announcement(place, alone=True) == "orb (seed 1) in runs/x"


def test_the_time_left_is_that_of_the_runs_before(registry, monkeypatch):
    plans = make_plans(["orb", "sift"], registry, {}, Phantom())
    clock = iter([100.0, 110.0, 120.0, 150.0, 160.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    runs = planned_runs(Request(seeds=2), plans, None, None, shared={})
    told = [(run.number, run.count, run.left) for _, run in runs]
    assert told == [(1, 5, None), (2, 5, 40.0), (3, 5, 30.0), (4, 5, 100 / 3), (5, 5, 15.0)]
