"""The simulation of intervals judges every measure that the board prints with an interval."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from cxrbench.metrics import boxes
from cxrbench.metrics.intervals import WITHOUT_INTERVAL
from cxrbench.metrics.measures import MEASURES


@pytest.fixture(scope="module")
def coverage():
    """The script, with a truth from fewer patients: its names matter here, and not its shares."""
    path = Path(__file__).parents[1] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("interval_coverage", path)
    module = sys.modules["interval_coverage"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.TRUTH_PATIENTS = 3_000
    return module


def test_every_measure_is_judged_for_labels_micro_and_macro(coverage):
    judged = coverage.judge(0, patients=97, giant=False, replicates=50)
    measures = set(MEASURES) - set(WITHOUT_INTERVAL)
    for group in ("20 up", "micro", "macro"):
        names = {name for name, of, _ in judged if of == group}
        assert names == {*measures, "average_precision, population"}


def test_saliency_is_judged(coverage):
    judged = coverage.judge_saliency(0, patients=97, giant=False, replicates=50)
    assert {name for name, of, _ in judged if of == "macro"} == {
        f"saliency {name}" for name in boxes.MEASURES
    }


def test_every_test_of_the_board_is_judged(coverage):
    found = coverage.errors(0, patients=97, giant=False, replicates=50)
    kinds = {"one seed, models", "one seed, recipes", "three seeds, recipes"}
    tests = {"ranks of ten", "macro AUROC of two", "any label of compare"}
    tests.add("ablation of three parts")
    assert set(found) == {f"{kind}: {test}" for kind in kinds for test in tests}
