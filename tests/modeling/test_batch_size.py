"""The batch size that a machine can take: what it is tried with, and what ends the search."""

from __future__ import annotations

import pytest

from cxrbench.modeling import batch_size
from cxrbench.modeling.batch_size import SIZES, find_batch_size, host_memory_left


class Machine:
    """Takes ``seconds(size)`` for a step, and does not hold more than ``most`` images."""

    def __init__(self, seconds, most=10**9, per_image=0.0):
        self.seconds, self.most, self.per_image = seconds, most, per_image
        self.now, self.peak, self.tried = 0.0, 1e9, []

    def step(self, size):
        if size > self.most:
            raise MemoryError(f"{size} images")
        self.tried.append(size)
        self.now += self.seconds(size)
        self.peak = max(self.peak, 1e9 + size * self.per_image)


@pytest.fixture
def find(monkeypatch, recorder):
    def found(machine, images=10_000, left=1e12):
        monkeypatch.setattr(batch_size.time, "perf_counter", lambda: machine.now)
        monkeypatch.setattr(batch_size, "_peak", lambda: machine.peak)
        monkeypatch.setattr(batch_size, "host_memory_left", lambda: left)
        return find_batch_size(machine.step, images, recorder)

    return found


def test_sizes_grow_for_as_long_as_that_makes_training_faster(find, recorder):
    # 40 ms a step and 10 ms an image: 88.9 images/s in batches of 32, then 94.1 and 97.0.
    assert find(Machine(lambda size: 0.04 + 0.01 * size)) == 64
    assert find(Machine(lambda size: 1 + 0.001 * size)) == SIZES[-1]
    assert find(Machine(lambda size: 0.01 * size)) == SIZES[0]
    assert any("images/s" in line for line in recorder.lines)


def test_what_does_not_fit_is_not_taken(find, recorder):
    machine = Machine(lambda size: 1.0, most=100)
    assert find(machine) == 64
    assert max(machine.tried) == 64
    assert recorder.lines[-1] == "  batch size 128: does not fit into memory"


def test_the_machines_memory_is_not_run_into(find, recorder):
    # From 64 to 128 images the process grew by 640 MB: to 256 it would by 1,280.
    machine = Machine(lambda size: 1.0, per_image=1e7)
    assert find(machine, left=1e9) == 128
    assert max(machine.tried) == 128
    assert recorder.lines[-1] == "  batch size 256: would not fit into this machine's memory"


def test_no_more_than_there_are_images(find):
    assert find(Machine(lambda size: 1.0), images=50) == 32
    assert find(Machine(lambda size: 1.0), images=5) == 5


def test_too_little_memory_for_the_smallest_is_an_error(find):
    with pytest.raises(MemoryError):
        find(Machine(lambda size: 1.0, most=4))


def test_other_failures_are_not_taken_for_memory(find):
    def step(size):
        raise RuntimeError("something else")

    machine = Machine(lambda size: 1.0)
    machine.step = step
    with pytest.raises(RuntimeError, match="something else"):
        find(machine)


def test_the_memory_that_is_left_is_some_of_the_machines():
    with open("/proc/meminfo", encoding="ascii") as file:
        total = int(file.readline().split()[1]) * 1024
    assert 0 < host_memory_left() <= total
