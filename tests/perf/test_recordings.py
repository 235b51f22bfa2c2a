"""A history of recordings: what is kept of a side, and two of them compared."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from recorded import recording

from cxrbench.errors import DataError, SettingsError
from cxrbench.perf.comparison import GateSettings
from cxrbench.perf.recordings import (
    append_recording,
    compare_recordings,
    find_recording,
    read_recordings,
    require_history,
)


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "deep" / "history.jsonl"
    append_recording(recording("aaaa1111"), path)
    append_recording(recording("bbbb2222", {"decode": 0.3}, seed=1), path)
    return path


def test_a_line_for_each_recording_comes_back_as_it_was(history):
    lines = history.read_text().splitlines()
    assert [json.loads(line)["commit"] for line in lines] == ["aaaa1111", "bbbb2222"]
    first, _ = read_recordings(history)
    wanted = recording("aaaa1111")
    assert (first.side, first.machine, first.versions) == (
        wanted.side,
        wanted.machine,
        wanted.versions,
    )
    np.testing.assert_allclose(
        first.samples.seconds["decode"], wanted.samples.seconds["decode"], rtol=1e-8
    )
    assert first.absent == wanted.absent


def test_a_recording_is_named_by_its_file_and_commit(history):
    assert find_recording(str(history)).commit == "bbbb2222"
    assert find_recording(f"{history}@aaaa").commit == "aaaa1111"
    assert find_recording("HEAD~3") is None
    with pytest.raises(DataError, match="no recording of 'cccc'") as told:
        find_recording(f"{history}@cccc")
    assert "aaaa1111, bbbb2222" in str(told.value)


def test_two_recordings_are_compared(history):
    base, head = read_recordings(history)
    found = compare_recordings(base, head, GateSettings(), allow_cross_machine=False)
    assert found.verdicts["decode"].state == "slower"
    assert found.verdicts["resize"].state == "no change"
    assert found.verdicts["decode"].ratio == pytest.approx(1.3, rel=0.02)
    assert "at different times" in found.notes[0]
    assert found.exit_code(inconclusive_fails=False) == 1


def test_recordings_hold_no_instructions(history):
    base, head = read_recordings(history)
    settings = GateSettings(clock="instructions")
    with pytest.raises(SettingsError, match="times, not instructions"):
        compare_recordings(base, head, settings, allow_cross_machine=False)


def test_a_path_that_one_recording_lacks_is_reported(history):
    base, head = read_recordings(history)
    head = replace(head, samples=head.samples.without(["resize"]), absent={"resize": "failed: no"})
    found = compare_recordings(base, head, GateSettings(), allow_cross_machine=False)
    assert [(one.side, one.state, one.error) for one in found.absent["resize"]] == [
        ("head", "failed", "no")
    ]
    assert list(found.verdicts) == ["decode"]


def test_another_machine_is_refused_unless_it_is_allowed(history):
    base, head = read_recordings(history)
    other = replace(head, machine=replace(head.machine, processor="another processor"))
    with pytest.raises(SettingsError, match="from two machines") as told:
        compare_recordings(base, other, GateSettings(), allow_cross_machine=False)
    assert "another processor" in told.value.found
    assert "--allow-cross-machine" in told.value.fix
    found = compare_recordings(base, other, GateSettings(), allow_cross_machine=True)
    assert any("another processor" in note for note in found.notes)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no recording"),
        ("not json\n", "line 1"),
        ('{"format": 1}\n', "line 1"),
        ('{"format": 99}\n', "format 99"),
        (b"\xff\xfe\n", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path, content, said):
    path = tmp_path / "history.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as told:
        read_recordings(path)
    assert said in str(told.value)


@pytest.mark.parametrize(
    "seconds", [[], [[1.0]], [[[["a", "b"]]]], [[[[float("nan"), 1.0]]]], [[[[-1.0, 1.0]]]]]
)
def test_samples_that_are_none_are_told(history, seconds):
    told = json.loads(recording().line())
    told["paths"]["decode"]["seconds"] = seconds
    history.write_text(json.dumps(told) + "\n")
    with pytest.raises(DataError, match="no samples of hot paths"):
        read_recordings(history)


def test_nothing_is_added_to_a_line_without_an_end(history):
    whole = history.read_bytes()
    history.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="line 2"):
        append_recording(recording(), history)
    assert history.read_bytes() == whole[:-20]


def test_a_name_that_would_not_be_found_again_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(SettingsError, match=r"history.txt"):
        require_history(tmp_path / "history.txt")
