"""How much slower `prepare` is than a bare loop over OpenCV that does the same work.

    python benchmarks/prepare_overhead.py FOLDER_OF_PNGS --repeats 5

Pixels at 224, ORB and SIFT at 512. The ways are interleaved in one process, so that another load
on the machine meets them all; what counts is the ratio within a round, and its median. On a busy
machine trust the processor time, which a load beside it changes less than the wall time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
from plain_files import PlainFiles

from cxrbench.builtin.orb import ORB
from cxrbench.builtin.sift import SIFT
from cxrbench.output.display import SilentDisplay
from cxrbench.store.image_pass import Preparation
from cxrbench.store.prepare import prepare

WANTED = Preparation(image_sizes=(224,), extractors=(ORB(), SIFT()))


def by_opencv(paths: list[Path]) -> None:
    """The bare loop: decode, two resizes, both detectors as OpenCV offers them, all kept."""
    orb = cv2.ORB.create(nfeatures=ORB().nfeatures, fastThreshold=ORB().fast_threshold)
    sift = cv2.SIFT.create(SIFT().nfeatures, 3, 0.04, 10.0, 1.6, cv2.CV_8U)
    kept = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
        large = cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA)
        kept.append((small, orb.detectAndCompute(large, None), sift.detectAndCompute(large, None)))


def by_prepare(paths: list[Path], threads: int) -> None:
    """The same through `prepare`, into an empty cache."""
    cache, films = Path(tempfile.mkdtemp()), PlainFiles(tuple(paths))
    try:
        prepare(
            films,
            films.load(),
            WANTED,
            max_bad=0.0,
            cache=cache,
            threads=threads,
            display=SilentDisplay(),
        )
    finally:
        shutil.rmtree(cache)


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Wall time and processor time (all threads) of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Measure and print one line for each round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of PNGs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=None, help="use only the first so many")
    given = parser.parse_args()
    paths = sorted(given.folder.glob("*.png"))[: given.images]
    cv2.setNumThreads(1)
    by_opencv(paths)  # files into the page cache, code into the memory
    # In a thread: on the main one glibc gives memory back after every image, and the bare loop
    # needs up to half as much time again. That is no merit of `prepare`.
    pool = ThreadPoolExecutor(2)
    halves = (paths[::2], paths[1::2])
    ways: dict[str, Callable[[], None]] = {
        "opencv": lambda: pool.submit(by_opencv, paths).result(),
        "opencv, 2 threads": lambda: consume(pool.map(by_opencv, halves)),
        "prepare, 1 thread": lambda: by_prepare(paths, 1),
        "prepare, 2 threads": lambda: by_prepare(paths, 2),
    }
    rounds = []
    for _ in range(given.repeats):
        times = {name: seconds(way) for name, way in ways.items()}
        print("  ".join(f"{n} {len(paths) / t[0]:.1f} images/s" for n, t in times.items()))
        rounds.append(times)
    for kind, clock in enumerate(("wall", "processor")):
        over = [t["prepare, 1 thread"][kind] / t["opencv"][kind] - 1 for t in rounds]
        print(f"overhead on 1 thread, {clock} time: {told(over, '+.1%')}")
    for name, one in (("opencv", "opencv"), ("prepare", "prepare, 1 thread")):
        gain = [t[one][0] / t[f"{name}, 2 threads"][0] for t in rounds]
        print(f"{name} on 2 threads, wall time: {told(gain, '.2f')} x 1 thread")


def consume(results: Iterable[None]) -> None:
    """Wait for all of them."""
    for _ in results:
        pass


def told(values: list[float], form: str) -> str:
    """Median and range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
