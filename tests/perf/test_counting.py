"""Instructions in place of time, where valgrind is installed."""

from __future__ import annotations

import shutil

import pytest
from conftest import Recorder
from timed_sides import environment, small_work

from cxrbench.errors import SettingsError
from cxrbench.perf import counting
from cxrbench.perf.gate import GateSettings, compare_sides
from cxrbench.perf.sides import Side, this_environment


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return small_work(tmp_path_factory.mktemp("films"))


def test_without_valgrind_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(counting.shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match="not installed") as told:
        counting.require_valgrind()
    assert "--clock cpu" in told.value.fix


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("callgrind_control") is None, reason="valgrind is not installed")
def test_one_percent_more_work_is_found(work, tmp_path):
    more = environment(
        tmp_path,
        {
            "store/decoding.py": """
                _same = clahe
                def clahe(image):
                    _same(image[:16])
                    return _same(image)
            """
        },
    )
    sides = this_environment(), Side("more", "more", more)
    options = GateSettings(threshold=0.01, clock="instructions")
    found = compare_sides(
        sides, ["clahe", "resize"], work, options, Recorder(), lambda so_far: None
    )
    assert found.verdicts["clahe"].state == "slower"
    assert found.verdicts["resize"].state == "no change"
    assert found.verdicts["resize"].ratio == pytest.approx(1, abs=1e-3)
