"""A pass that is interrupted or killed at any instant: the stores end with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from prepared_films import (
    Corners,
    Folder,
    Interrupted,
    ListDisplay,
    bytes_of,
    compare_nothing,
    forget_counts,
    keys_of,
    make_cohort,
    prepared,
)


@pytest.fixture(autouse=True)
def _fresh_counts():
    forget_counts()


def test_an_interrupted_pass_goes_on_where_it_was(tmp_path, monkeypatch):
    compare_nothing(monkeypatch)
    cohort, display = make_cohort(tmp_path / "films", 300), ListDisplay()
    prepared(cohort, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        prepared(cohort, tmp_path / "cache", dataset=Interrupted(at=290))
    assert not keys_of(tmp_path / "cache")
    Folder.counts.clear()
    prepared(cohort, tmp_path / "cache", display=display)
    assert {Path(source).name for source in Folder.counts} == {
        f"{row:04}.png" for row in range(256, 300)
    }
    assert display.said == ["continuing at image 257 of 300"]
    assert display.steps == display.total == 300
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


def test_stores_that_got_differently_far_are_finished_together(tmp_path, monkeypatch):
    compare_nothing(monkeypatch)
    cohort = make_cohort(tmp_path / "films", 300)
    both = {"image_sizes": (32, 16), "extractors": (Corners(),)}
    prepared(cohort, tmp_path / "whole", **both)
    for at, wanted in ((150, {"extractors": ()}), (290, {"image_sizes": ()})):
        with pytest.raises(KeyboardInterrupt):
            prepared(cohort, tmp_path / "cache", dataset=Interrupted(at=at), **wanted)
    Folder.counts.clear()
    Corners.counts.clear()
    prepared(cohort, tmp_path / "cache", **both)
    assert set(Folder.counts.values()) == {1}
    assert set(Corners.counts) == {f"{row:04}.png" for row in range(256, 300)}
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("tail", [b"half a li", b'{"crc32": 0, "chunk": "{}"}\n'])
def test_what_lies_behind_the_last_whole_journal_line_is_cut_off(tail, tmp_path):
    cohort = make_cohort(tmp_path / "films", 200)
    prepared(cohort, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        prepared(cohort, tmp_path / "cache", dataset=Interrupted(at=190))
    for name in ("pixels.bin", "descriptors.bin", "journal.jsonl"):
        for path in (tmp_path / "cache").rglob(name):
            path.write_bytes(path.read_bytes() + tail)
    prepared(cohort, tmp_path / "cache")
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from prepared_films import Corners, Folder, ListDisplay, make_cohort, prepared
class Slow(Folder):
    def read(self, source, *, max_pixels):
        time.sleep(0.002)
        return super().read(source, max_pixels=max_pixels)
cohort, display = make_cohort(Path({films!r}), {count}), ListDisplay()
print("ready", flush=True)
prepared(cohort, Path({cache!r}), dataset=Slow(), display=display, image_sizes=(16, 32))
print(len(Folder.counts), *display.said, flush=True)
"""


@contextmanager
def worker(tmp_path: Path, cache: Path, count: int):
    """Another process that prepares; it has got as far as the call itself."""
    here, films = str(Path(__file__).parent), str(tmp_path / "films")
    code = WORKER.format(here=here, films=films, cache=str(cache), count=count)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "ready\n"
        yield run


def kill_worker(tmp_path: Path, cache: Path, count: int, after: float) -> bool:
    """Whether the process was still at work when it was killed."""
    with worker(tmp_path, cache, count) as run:
        time.sleep(after)
        at_work = run.poll() is None
        run.send_signal(signal.SIGKILL)
    return at_work


def test_killed_at_any_instant_the_next_call_ends_with_the_same_bytes(tmp_path):
    cohort = make_cohort(tmp_path / "films", 400)
    prepared(cohort, tmp_path / "whole", image_sizes=(16, 32))
    at_work = 0
    for number, after in enumerate(np.random.default_rng(0).uniform(0.0, 0.5, 3)):
        cache = tmp_path / f"cache{number}"
        at_work += kill_worker(tmp_path, cache, 400, after)
        prepared(cohort, cache, image_sizes=(16, 32))
        assert bytes_of(cache) == bytes_of(tmp_path / "whole")
    assert at_work


@pytest.mark.slow
def test_killed_twenty_times_over_it_ends_with_the_same_bytes(tmp_path):
    cohort = make_cohort(tmp_path / "films", 1500)
    prepared(cohort, tmp_path / "whole", image_sizes=(16, 32))
    cache, at_work = tmp_path / "cache0", 0
    for number, after in enumerate(np.random.default_rng(1).uniform(0.0, 0.6, 20)):
        at_work += kill_worker(tmp_path, cache, 1500, after)
        if number % 5 == 4:  # four kills on the way, then to the end
            prepared(cohort, cache, image_sizes=(16, 32))
            assert bytes_of(cache) == bytes_of(tmp_path / "whole")
            cache = tmp_path / f"cache{number}"
    assert at_work >= 15


def test_a_second_process_waits_and_uses_what_the_first_made(tmp_path):
    cohort, display, cache = make_cohort(tmp_path / "films", 400), ListDisplay(), tmp_path / "cache"
    with worker(tmp_path, cache, 400) as first:
        deadline = time.monotonic() + 20
        while not list(cache.rglob("about.json")) and time.monotonic() < deadline:
            time.sleep(0.005)
        result = prepared(cohort, cache, image_sizes=(16, 32), display=display)
        assert first.stdout.readline() == "400\n"
    assert any(text.startswith("waiting for another process") for text in display.said)
    assert not Folder.counts
    assert result.usable.all()
    prepared(cohort, tmp_path / "whole", image_sizes=(16, 32))
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")
