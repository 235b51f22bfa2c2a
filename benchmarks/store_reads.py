"""Random batches from a pixel store, pages warm, on one core, as training gathers them.

    python benchmarks/store_reads.py [--images 5000] [--size 224] [--batch 32] [--rounds 5]

Fills a store-sized file with random bytes, reads it once, and gathers batches of random rows
through `cxrbench.modeling.inputs.Inputs`, as training does; beside it, interleaved, plain indexing
of an array in memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cxrbench.modeling.inputs import Inputs
from cxrbench.store.stores import map_array


def rate(gather: Callable[[np.ndarray], object], batches: list[np.ndarray]) -> tuple[float, float]:
    """Images a second of wall time and of processor time."""
    images = sum(map(len, batches))
    wall, processor = time.perf_counter(), time.process_time()
    for rows in batches:
        gather(rows)
    return images / (time.perf_counter() - wall), images / (time.process_time() - processor)


def main() -> None:
    """Print the median rates of each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rng = np.random.default_rng(0)
    shape = (given.images, given.size, given.size)
    memory = rng.integers(0, 256, shape, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.bin"
        memory.tofile(path)
        stored = map_array(path, shape, np.dtype(np.uint8))
        int(stored.sum())  # every page once
        labels = np.zeros((given.images, 15), np.float32)
        ways: dict[str, Callable[[np.ndarray], object]] = {
            "store, as training gathers": Inputs(stored, {}, labels).gather,
            "array in memory, indexed": lambda rows: memory[rows],
        }
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            order = rng.permutation(given.images)
            batches = np.array_split(order, max(1, given.images // given.batch))
            for name, gather in ways.items():
                rates[name].append(rate(gather, batches))
    for name, found in rates.items():
        wall, processor = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name}: {wall:,.0f} images/s (wall), {processor:,.0f} (processor time)")


if __name__ == "__main__":
    main()
