"""What it costs to see that images and cache are those of before, beside preparing them.

    python benchmarks/reuse_cost.py FOLDER --images 400

FOLDER holds images, at any depth. Pixels at 224 and ORB at 512 are prepared on one thread; then
each step of a second call is timed alone, in processor time (and wall time in brackets): the
signatures of all images, the comparison of a sample of them with their digests, and the checksums
of the stores. ``--large N`` times signatures of N names that are links to the same images, with
all of them in the page cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from plain_files import PlainFiles

from cxrbench import Cohort, Dataset
from cxrbench.builtin.orb import ORB
from cxrbench.output.display import SilentDisplay
from cxrbench.store.consumers import changed_image, consumers_of
from cxrbench.store.image_pass import Preparation
from cxrbench.store.journal import ImageTable, read_journal, verify_stretches
from cxrbench.store.prepare import prepare
from cxrbench.store.stores import open_store

WANTED = Preparation(image_sizes=(224,), extractors=(ORB(),))
SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")


def timed(work: Callable[[], Any], rounds: int = 1) -> tuple[float, float]:
    """Seconds of processor and wall time, medians."""
    pairs = []
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        pairs.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpus, walls = zip(*pairs, strict=True)
    return statistics.median(cpus), statistics.median(walls)


def main() -> None:
    """Print the cost of each step, in seconds and as a share of preparing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--large", type=int, default=0)
    given = parser.parse_args()
    every = sorted(path for path in given.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = tuple(every[: given.images])
    dataset = PlainFiles(files)
    cohort = dataset.load()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        whole = timed(
            lambda: prepare(
                dataset,
                cohort,
                WANTED,
                max_bad=1.0,
                cache=cache,
                threads=1,
                display=SilentDisplay(),
            )
        )
        consumers = consumers_of(dataset, cohort, WANTED)
        stores = [open_store(one.spec, cache) for one in consumers]
        table = next(store.images for store in stores if store is not None)
        shown("preparing", whole, whole, len(files))
        signing = timed(lambda: consumers_of(dataset, cohort, WANTED), given.rounds)
        shown("signatures", signing, whole, len(files))
        sample = timed(lambda: compared(table, dataset, cohort), given.rounds)
        shown("sample", sample, whole, len(files))
        shown("checksums", timed(lambda: verified(cache), given.rounds), whole, len(files))
        if given.large:
            names = []
            for number in range(given.large):
                link = cache / f"{number:06}.png"
                os.symlink(files[number % len(files)].absolute(), link)
                names.append(link)
            many = PlainFiles(tuple(names))
            rows = many.load()
            for threads in (1, 2):
                seconds = timed(partial(consumers_of, many, rows, WANTED, threads))
                shown(f"signatures of {given.large:,}, {threads} threads", seconds, whole, 0)


def compared(table: ImageTable, dataset: Dataset, cohort: Cohort) -> None:
    """The sample of images, as a second call compares it."""
    assert changed_image(table, dataset, cohort, WANTED.max_pixels, 1) is None


def verified(cache: Path) -> None:
    """All data files with their checksums."""
    for journal in cache.glob("*/*/journal.jsonl"):
        verify_stretches(journal.parent, read_journal(journal.read_bytes(), ()).stretches)


def shown(what: str, seconds: tuple[float, float], whole: tuple[float, float], images: int) -> None:
    """One line."""
    cpu, wall = seconds
    share = f", {100 * cpu / whole[0]:.2f} %" if images else ""
    each = f", {1000 * cpu / images:.3f} ms for each image" if images else ""
    print(f"{what}: {cpu:.2f} s ({wall:.2f} s){each}{share}", flush=True)


if __name__ == "__main__":
    main()
