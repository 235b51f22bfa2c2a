"""Checkpoints: the last whole one counts, the best weights stay, and the cost is bounded."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from conftest import Recorder

from cxrbench.errors import RunError
from cxrbench.modeling import checkpoint
from cxrbench.modeling.checkpoint import SHARE, Checkpoint, Checkpoints
from cxrbench.modeling.schedule import Epoch, Position

EPOCH = Epoch(1, 1e-4, 0.7, 0.69, 0.51, 0.5, 0.8, 0.1, 0.2, 3.25, 10.5)


def state(value: float) -> tuple[np.ndarray, ...]:
    # What variables are: matrices, scalars, whole numbers, and nothing at all.
    return (np.full((3, 4), value, np.float32), np.array(7), np.array([1, 2], np.uint32))


def saved(run, value: float, best_epoch: int = 1, epochs: int = 1, **position) -> Checkpoint:
    made = Checkpoint(
        Position(history=(EPOCH,) * epochs, **position), state(value), state(best_epoch)
    )
    run.save(made, best_epoch)
    return made


def same(one: Checkpoint | None, other: Checkpoint) -> bool:
    assert one is not None
    for left, right in ((one.state, other.state), (one.best, other.best)):
        assert [a.dtype for a in left] == [a.dtype for a in right]
        if not all(np.array_equal(a, b) for a, b in zip(left, right, strict=True)):
            return False
    return one.position == other.position


def test_what_was_saved_last_is_loaded_to_the_last_bit(tmp_path, recorder):
    run = Checkpoints(tmp_path, "key")
    assert run.load(recorder) is None
    saved(run, 0.1)
    last = saved(run, np.nextafter(np.float32(0.1), 1), losses=(0.1 + 0.2, 1 / 3), seconds=0.7)
    assert same(Checkpoints(tmp_path, "key").load(recorder), last)
    assert recorder.lines == []


def test_best_weights_are_written_when_they_are_new_and_only_then(tmp_path, recorder):
    run = Checkpoints(tmp_path, "key")
    folder = tmp_path / "checkpoint"
    saved(run, 1.0, best_epoch=1)
    first = (folder / "best-1.npz").stat()
    saved(run, 2.0, best_epoch=1, epochs=2)
    assert (folder / "best-1.npz").stat().st_mtime_ns == first.st_mtime_ns
    last = saved(run, 3.0, best_epoch=3, epochs=3)
    assert sorted(p.name for p in folder.iterdir()) == [
        "best-3.npz",
        "checkpoint.json",
        "state-3.npz",
    ]
    again = Checkpoints(tmp_path, "key")
    assert same(again.load(recorder), last)
    saved(again, 4.0, best_epoch=3, epochs=4)
    assert sorted(p.name for p in folder.glob("*.npz")) == ["best-3.npz", "state-4.npz"]


def test_before_the_first_epoch_ends_there_are_no_best_weights(tmp_path, recorder):
    run = Checkpoints(tmp_path, "key")
    run.save(Checkpoint(Position(losses=(0.5,)), state(1.0), ()), 0)
    found = Checkpoints(tmp_path, "key").load(recorder)
    assert found is not None
    assert found.best == ()
    assert found.position == Position(losses=(0.5,))


def test_scores_that_are_undefined_are_kept_as_such(tmp_path, recorder):
    epoch = replace(EPOCH, val_precision=math.nan, val_auc=math.nan)
    run = Checkpoints(tmp_path, "key")
    run.save(Checkpoint(Position(history=(epoch,)), state(1.0), state(1.0)), 1)
    found = Checkpoints(tmp_path, "key").load(recorder)
    assert found is not None
    (read,) = found.position.history
    assert math.isnan(read.val_precision)
    assert math.isnan(read.val_auc)
    assert replace(read, val_precision=0, val_auc=0) == replace(epoch, val_precision=0, val_auc=0)


@pytest.mark.parametrize("at", range(12))
def test_a_save_that_breaks_off_anywhere_leaves_the_one_before(tmp_path, recorder, at, monkeypatch):
    """Whatever call to the operating system is the last one, the checkpoint is whole."""
    run = Checkpoints(tmp_path, "key")
    before = saved(run, 1.0, best_epoch=1)
    calls = 0

    def counted(real):
        def call(*arguments, **named):
            nonlocal calls
            if calls == at:
                raise KeyboardInterrupt
            calls += 1
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace", "unlink", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            after = saved(run, 2.0, best_epoch=2, epochs=2)
        except KeyboardInterrupt:
            after = Checkpoint(Position(history=(EPOCH,) * 2), state(2.0), state(2))
    found = Checkpoints(tmp_path, "key").load(recorder)
    assert same(found, before) or same(found, after)
    # And the next life goes on from there, and tidies up.
    again = Checkpoints(tmp_path, "key")
    again.load(recorder)
    last = saved(again, 3.0, best_epoch=3, epochs=3)
    assert same(Checkpoints(tmp_path, "key").load(recorder), last)
    assert len(list((tmp_path / "checkpoint").iterdir())) == 3


def test_a_checkpoint_of_other_conditions_is_not_continued(tmp_path):
    saved(Checkpoints(tmp_path, "key"), 1.0)
    display = Recorder()
    assert Checkpoints(tmp_path, "another").load(display) is None
    assert "starts from the beginning" in display.lines[0]


@pytest.mark.parametrize("name", ["state-1.npz", "best-1.npz", "checkpoint.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "removed", "empty"])
def test_a_damaged_checkpoint_is_said_and_not_used(tmp_path, name, harm):
    saved(Checkpoints(tmp_path, "key"), 1.0)
    path = tmp_path / "checkpoint" / name
    data = bytearray(path.read_bytes())
    if harm == "removed":
        path.unlink()
    elif harm == "changed":
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    else:
        path.write_bytes(data[: 0 if harm == "empty" else len(data) - 9])
    display = Recorder()
    found = Checkpoints(tmp_path, "key").load(display)
    assert found is None
    if (name, harm) == ("checkpoint.json", "removed"):
        assert display.lines == []
    else:
        assert "starts from the beginning" in display.lines[0]


def test_nothing_is_unpickled(tmp_path, recorder):
    class Trap:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/sprung",))

    saved(Checkpoints(tmp_path, "key"), 1.0)
    path = tmp_path / "checkpoint" / "state-1.npz"
    np.savez(path, **{"0": np.array([Trap()], object)})
    about = json.loads((path.parent / "checkpoint.json").read_text())
    about["files"][path.name] = path.stat().st_size
    (path.parent / "checkpoint.json").write_text(json.dumps(about))
    assert Checkpoints(tmp_path, "key").load(recorder) is None
    assert not (tmp_path / "sprung").exists()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


def test_saves_cost_at_most_their_share_of_the_time(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(checkpoint, "time", clock)

    def slow_write(path, arrays):
        clock.now += 0.5
        path.write_bytes(b"")

    monkeypatch.setattr(checkpoint, "_write", slow_write)
    run, spent, started = Checkpoints(tmp_path, "key"), 0.0, clock.now
    for _ in range(3000):  # ten minutes of steps that take 0.2 s each
        clock.now += 0.2
        if run.due(100_000_000):
            before = clock.now
            run.save(Checkpoint(Position(), (), ()), 0)
            spent += clock.now - before
    assert 0.5 * SHARE < spent / (clock.now - started) <= SHARE


def test_a_full_disk_is_an_error_with_advice(tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(
        RunError, match=r"room for the checkpoint(?s:.*)No space left(?s:.*)make room"
    ):
        saved(Checkpoints(tmp_path, "key"), 1.0)
