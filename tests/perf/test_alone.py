"""One path by itself: what a sample tells, and a path that fails or takes its process down."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from conftest import environment, install

from cxrbench.perf import alone
from cxrbench.perf.alone import PathFailed, Task, time_alone, time_here
from cxrbench.perf.workload import write_films

BAD = """
import os
from dataclasses import dataclass
from cxrbench import FeatureExtractor, Identity, hookimpl

CXRBENCH_API = 1

@dataclass(frozen=True)
class Bad(FeatureExtractor):
    name = "bad"
    image_size = 32
    encodings = {"identity": Identity}
    exits: bool = False

    def extract(self, image, record):
        print("noise")
        if self.exits:
            os._exit(3)
        raise ValueError("no film\\nlike this")

@hookimpl
def cxrbench_feature_extractors():
    return [Bad]
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    from cxrbench.builtin.phantom import Phantom

    folder = tmp_path_factory.mktemp("films")
    phantom = Phantom(patients=20, size=64)
    write_films(phantom, phantom.load(), folder, count=2)
    return str(folder)


def test_a_sample_of_a_path_that_threads_share(films, monkeypatch):
    monkeypatch.setattr(alone, "ENOUGH_CALLS", 5)
    task = Task("resize", films, image_size=32, seconds=0.0)
    single = time_here(task)
    assert (single.step, single.images, single.threads) == ("prepare", 8, 1)
    assert (len(single.calls), single.device, single.backend) == (5, None, None)
    assert single.wall == pytest.approx(sum(single.calls), rel=0.5)
    assert min(single.calls) > 0
    assert single.first_call_seconds > 0
    shared = time_here(replace(task, threads=3))
    assert (len(shared.calls), shared.threads) == (15, 3)


def test_a_slow_path_is_called_less_often(films, monkeypatch):
    monkeypatch.setattr(alone, "MOST_SECONDS", 0.0)
    assert len(time_here(Task("decode", films)).calls) == alone.LEAST_CALLS


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak to reset")
def test_memory_is_what_the_calls_add_and_not_what_was_there(films, monkeypatch):
    import numpy as np

    from cxrbench.perf import hot_paths

    before = np.ones(20_000_000, np.uint8)
    grown = hot_paths.HotPath("grown", "score", 0, lambda: np.ones(50_000_000, np.uint8).sum())
    monkeypatch.setattr(hot_paths, "set_up", lambda name, films: grown)
    monkeypatch.setattr(alone, "ENOUGH_CALLS", 3)
    found = time_here(Task("grown", films, seconds=0.0))
    assert 40_000_000 < found.memory < 65_000_000
    assert before.all()


def test_a_network_says_what_it_computes_on(films, registry, monkeypatch):
    monkeypatch.setattr(alone, "ENOUGH_CALLS", 3)
    task = Task("train-step/tinynet+grid", films, image_size=32, batch_size=4, device="cpu")
    found = time_here(replace(task, seconds=0.0))
    assert (found.step, found.images, found.device) == ("train", 4, "cpu")
    assert found.threads == len(os.sched_getaffinity(0))
    assert found.backend in ("tensorflow", "jax", "torch")


def test_a_path_in_a_process_of_its_own_and_one_that_fails_there(films, tmp_path, monkeypatch):
    (tmp_path / "bad_parts.py").write_text(BAD)
    install(tmp_path, "cxrbench-bad", "bad_parts")
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    found = time_alone(Task("clahe", films, seconds=0.01))
    assert (found.step, len(found.calls) >= 20, found.device) == ("prepare", True, None)
    with pytest.raises(PathFailed, match=r"^ValueError: no film like this$"):
        time_alone(Task("extract/bad", films))
    with pytest.raises(PathFailed, match=r"noise|ended with 3"):
        time_alone(Task("extract/bad:exits=true", films))
