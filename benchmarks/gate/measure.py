"""Fill a bank of samples with known truth, from which the gate's error rates are judged.

Every block holds what one comparison measures: restarts of a base process, of a second one as its
control, and of head processes, with rounds of samples in turn. The code is the same in all. One
head is timed as it is, the others with calls made 5, 10 and 20 % longer by a busy loop. So each
block is a comparison without a change and one for each slowdown; blocks share no samples.

    python benchmarks/gate/measure.py --load none --minutes 15
    python benchmarks/gate/measure.py --load core --minutes 15

``core`` keeps the machine's first core busy meanwhile; the samples are taken on the last. The bank,
``benchmarks/gate/bank-LOAD.npz``, is written after every block, and an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cxrbench.perf.comparison import BASE, CONTROL, HEAD
from cxrbench.perf.process import Environment, Work
from cxrbench.perf.samples import this_machine
from cxrbench.perf.sampling import FIRST_RESTARTS, ROUNDS, Schedule, Turn, restart
from cxrbench.perf.worker import versions
from cxrbench.perf.workload import write_drawn_films

PATHS = ("decode", "extract/orb", "gather")
SLOWDOWNS = (1.0, 1.05, 1.1, 1.2)
FOLDER = Path(__file__).parent

BUSY = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
some = np.random.default_rng(0).random(4_000_000)
while True:
    some.sort()
    some[::7] *= -1
"""


@contextmanager
def busy_core(wanted: bool) -> Iterator[None]:
    """Another process computes, and moves memory, on the first core."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def block(plan: Schedule, calls: dict[str, int], seed: int) -> np.ndarray:
    """One comparison's samples, (paths, restarts, rounds, turns, clocks) float32."""
    taken = []
    for number in range(FIRST_RESTARTS):
        one = restart(plan, PATHS, calls, seed=seed + number)
        assert not one.troubles, one.troubles
        calls.update(one.calls)
        taken.append(np.stack([one.seconds[path] for path in PATHS]))
    return np.stack(taken, axis=1).astype(np.float32)


def main() -> None:
    """Add blocks until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", choices=("none", "core"), required=True)
    parser.add_argument("--minutes", type=float, default=15)
    given = parser.parse_args()
    file = FOLDER / f"bank-{given.load}.npz"
    blocks = list(np.load(file)["seconds"]) if file.is_file() else []
    same = Environment()
    heads = (Turn(HEAD + place, slowdown) for place, slowdown in enumerate(SLOWDOWNS))
    turns = (Turn(BASE), Turn(CONTROL), *heads)
    about = {
        "machine": this_machine().to_json(),
        "versions": versions(),
        "paths": PATHS,
        "slowdowns": SLOWDOWNS,
        "axes": ["block", "path", "restart", "round", "base, control, head by slowdown", "clock"],
    }
    until = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as folder, busy_core(given.load == "core"):
        write_drawn_films(Path(folder))
        plan = Schedule((same,) * len(turns), turns, ROUNDS, Work(Path(folder)))
        calls: dict[str, int] = {}
        while time.monotonic() < until:
            blocks.append(block(plan, calls, seed=len(blocks) * FIRST_RESTARTS))
            building = file.with_name(f".{file.name}")
            with building.open("wb") as made:
                np.savez_compressed(made, seconds=np.stack(blocks), about=json.dumps(about))
            os.replace(building, file)
            print(f"{len(blocks)} blocks", end="\r", flush=True)
    print()


if __name__ == "__main__":
    main()
