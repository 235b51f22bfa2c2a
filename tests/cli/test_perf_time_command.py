"""``cxrbench perf time``: one call, one table, and a clear end where something cannot be timed."""

from __future__ import annotations

import json

import pytest
from timed_paths import Timer


@pytest.fixture
def timed(cli, tmp_path, monkeypatch):
    """Run the command with a timer that only remembers."""

    def run(*arguments, failing=(), data="drawn"):
        timer = Timer(*failing)
        monkeypatch.setattr("cxrbench.perf.timing.time_alone", timer)
        return cli("perf", "time", *arguments, "--data", data, "--cache", tmp_path), timer

    return run


def test_a_table_of_paths_and_one_of_parts(timed):
    said, timer = timed("tinynet+grid", "--batch-size", 8, "--threads", 2, "--image-size", 48)
    assert said.code == 0, said.err
    assert "tinynet+grid on 4 images of drawn" in said.out
    assert "image size 48, batch size 8" in said.out
    for told in (
        "decode",
        "extract grid",
        "augment medical",
        "train-step",
        "Extractors and backbones",
    ):
        assert told in said.out
    assert {(task.batch_size, task.threads) for task in timer.tasks} == {(8, 2)}


def test_json_carries_that_and_nothing_else(timed):
    said, _ = timed("grid", "--json")
    told = json.loads(said.out)
    assert [one["path"] for one in told["recipes"][0]["paths"]] == [
        *("decode", "resize", "extract/grid", "encode/grid", "train-step/grid", "predict/grid"),
        "bootstrap",
    ]
    assert [one["part"] for one in told["parts"]] == ["grid"]


def test_a_path_that_fails_is_shown_and_ends_the_command_where_it_was_asked_for(timed):
    said, _ = timed("grid", failing=("extract",))
    assert said.code == 2
    assert "extract grid failed: ValueError: no extract/grid today" in said.out
    assert "decode" in said.out
    assert said.err.rpartition("cxrbench: ")[2].startswith("hot paths of the recipes cannot be")
    said, _ = timed("grid", "--all-plugins", failing=("extract/rows",))
    assert said.code == 0
    assert "rows failed: ValueError: no extract/rows today" in said.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("resnt",), "did you mean 'resnet'"),
        (("grid", "--batch-size", "0"), "--batch-size cannot be 0"),
        (("grid", "--image-size", "0"), "--image-size cannot be 0"),
        (("grid", "--device", "tpu"), "auto, cpu or gpu"),
    ],
)
def test_wrong_use_is_one_message(timed, arguments, told):
    said, timer = timed(*arguments)
    assert said.code == 2
    assert told.lower() in said.err.lower()
    assert "Traceback" not in said.err
    assert timer.tasks == []


def test_an_empty_folder_has_nothing_to_time_on(timed, tmp_path):
    (tmp_path / "empty").mkdir()
    said, _ = timed("grid", data=tmp_path / "empty")
    assert said.code == 2
    assert "an empty folder" in said.err
