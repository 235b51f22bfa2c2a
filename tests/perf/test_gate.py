"""Which paths are measured on, what is kept, and what the outcome is."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Recorder

from cxrbench.perf import gate
from cxrbench.perf.comparison import GateSettings
from cxrbench.perf.gate import compare_sides
from cxrbench.perf.process import Environment, Work
from cxrbench.perf.sampling import Restart, Trouble
from cxrbench.perf.sides import Side

SIDES = Side("a", "side a", Environment(), "aaaa"), Side("b", "side b", Environment(), "bbbb", "hm")


class Machine:
    """Stands for the processes: times by path, with so much noise, and troubles."""

    def __init__(self, changes, *, noise=0.002, troubles=None, stop_after=None):
        self.changes, self.noise = changes, noise
        self.troubles, self.stop_after = troubles or {}, stop_after
        self.asked: list[tuple[str, ...]] = []
        self.rng = np.random.default_rng(7)

    def __call__(self, plan, paths, calls, *, seed):
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(tuple(paths))
        seconds = {}
        for path in paths:
            if path not in self.troubles:
                times = np.array([1.0, 1.0, 1.0 + self.changes[path]]) / 100
                shape = (plan.rounds, len(plan.turns), len(plan.clocks))
                loud = 30 if path == "borderline" else 1
                noise = self.rng.normal(0, self.noise * loud, shape)
                seconds[path] = times[:, None] * np.exp(noise)
        known = dict.fromkeys(seconds, 1)
        troubles = {path: told for path, told in self.troubles.items() if path in paths}
        versions = ({"python": "3.11"}, {"python": "3.11"}, {"python": "3.12"})
        return Restart(seconds, troubles, known, known, versions)


@pytest.fixture
def compare(monkeypatch):
    def run(machine, options=None, keep=lambda found: None):
        monkeypatch.setattr(gate, "restart", machine)
        paths = [*machine.changes, *machine.troubles]
        films = Work(films=None)
        return compare_sides(SIDES, paths, films, options or GateSettings(), Recorder(), keep)

    return run


def test_each_path_has_a_verdict_and_at_least_20_pairs(compare):
    machine = Machine({"same": 0.0, "worse": 0.2, "better": -0.2})
    found = compare(machine)
    states = {path: one.state for path, one in found.verdicts.items()}
    assert states == {"same": "no change", "worse": "slower", "better": "faster"}
    for seconds in found.samples.seconds.values():
        restarts, rounds = seconds.shape[:2]
        assert restarts >= 3
        assert restarts * rounds >= 20
    assert found.in_state("slower") == ("worse",)
    assert found.exit_code(inconclusive_fails=False) == 1


def test_only_open_paths_are_measured_on(compare):
    machine = Machine({"same": 0.0, "borderline": 0.05})
    found = compare(machine, GateSettings(budget=0.05))
    assert machine.asked[:4] == [("same", "borderline")] * 4
    assert set(machine.asked[4:]) == {("borderline",)}
    assert len(found.samples.seconds["borderline"]) > len(found.samples.seconds["same"])
    assert found.verdicts["borderline"].state == "cannot tell"
    assert found.exit_code(inconclusive_fails=False) == 0
    assert found.exit_code(inconclusive_fails=True) == 1


def test_without_time_the_first_look_is_made_all_the_same(compare):
    machine = Machine({"same": 0.0})
    found = compare(machine, GateSettings(budget=0.0))
    assert len(machine.asked) == 4
    assert found.verdicts["same"].state == "no change"


def test_a_path_that_one_side_lacks_is_reported_and_not_compared(compare):
    troubles = {"new": (Trouble(0, "missing", "no"), Trouble(1, "missing", "no"))}
    found = compare(Machine({"same": 0.0}, troubles=troubles))
    assert [(one.side, one.state) for one in found.absent["new"]] == [("base", "missing")]
    assert list(found.verdicts) == ["same"]
    assert found.exit_code(inconclusive_fails=True) == 0


BROKEN = (Trouble(2, "failed", "ValueError: no"),)
UNKNOWN = Trouble(0, "missing", "KeyError"), Trouble(2, "missing", "KeyError")


@pytest.mark.parametrize("troubles", [BROKEN, UNKNOWN], ids=["fails on head", "on no side"])
def test_a_path_that_could_not_be_run_is_exit_code_2(compare, troubles):
    found = compare(Machine({"same": 0.0}, troubles={"bad": troubles}))
    assert found.failed() == ("bad",)
    assert found.exit_code(inconclusive_fails=False) == 2


def test_a_regression_goes_before_a_path_that_could_not_be_run(compare):
    troubles = {"bad": (Trouble(2, "failed", "no"),)}
    found = compare(Machine({"worse": 0.3}, troubles=troubles))
    assert found.exit_code(inconclusive_fails=False) == 1


def test_nothing_to_compare_is_exit_code_2(compare):
    found = compare(Machine({}, troubles={"bad": (Trouble(2, "failed", "no"),)}))
    assert not found.verdicts
    assert found.exit_code(inconclusive_fails=False) == 2


def test_what_was_complete_before_an_interruption_is_kept_and_not_judged(compare):
    kept = []
    found = compare(Machine({"worse": 0.5}, stop_after=3), keep=kept.append)
    assert found.interrupted
    assert len(kept) == 3
    assert len(kept[-1].samples.seconds["worse"]) == 3
    assert found.verdicts["worse"].state == "cannot tell"
    assert found.verdicts["worse"].why == "interrupted"
    assert found.verdicts["worse"].ratio == pytest.approx(1.5, rel=0.02)


def test_an_interruption_after_the_first_look_keeps_its_verdicts(compare):
    machine = Machine({"worse": 0.5, "borderline": 0.05}, stop_after=6)
    found = compare(machine)
    assert found.verdicts["worse"].state == "slower"
    assert found.verdicts["borderline"].why == "interrupted"


def test_a_machine_that_cannot_tell_a_thing_from_itself_says_so(compare):
    class Drifting(Machine):
        def __call__(self, plan, paths, calls, *, seed):
            found = super().__call__(plan, paths, calls, seed=seed)
            for seconds in found.seconds.values():
                seconds[:, 1] *= 1.04  # the control's process is slower than base's
            return found

    found = compare(Drifting({"worse": 0.2}), GateSettings(budget=0.0))
    assert found.verdicts["worse"].state == "cannot tell"
    assert found.verdicts["worse"].why.startswith("too much noise: base differs from itself by ")


def test_the_conditions_are_with_it(compare):
    found = compare(Machine({"same": 0.0}))
    told = found.to_json()
    assert told["base"]["commit"] == "aaaa"
    assert told["head"]["side"] == "side b"
    assert (told["base"]["versions"], told["head"]["versions"]) == (
        {"python": "3.11"},
        {"python": "3.12"},
    )
    assert told["notes"] == ["hm"]
    assert told["machine"]["cores"] >= 1
    assert told["paths"]["same"]["state"] == "no change"
    assert np.shape(told["samples"]["same"]["seconds"]) == (4, 6, 3, 2)
