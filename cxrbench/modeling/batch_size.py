"""Find the batch size: the largest that fits into memory and still makes training faster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from cxrbench.interfaces import Display
from cxrbench.modeling.backend import is_out_of_memory

SIZES = (8, 16, 32, 64, 128, 256, 512)
GAIN = 1.05
"""A doubling has to train so many times as many images a second: else it only means fewer steps."""

# What the host may use of the memory that is there: the pages of mapped files want the rest.
_SHARE_OF_HOST = 0.8
# A size is timed so often, or for so long: a step of many seconds tells enough at once.
_REPEATS = 3
_SECONDS = 5.0


def find_batch_size(
    step: Callable[[int], None], images: int, display: Display, *, multiple_of: int = 1
) -> int:
    """The size at which ``step(size)``, one training step, is worth its memory.

    Sizes are tried from `SIZES` upwards, at most ``images``. A size is refused when its step runs
    out of memory, or when the host's would not hold it, as the sizes before tell. Each of
    ``multiple_of`` devices gets as many images as the others.

    Raises
    ------
    Exception : whatever ``step`` raises for the smallest size.
    """
    sizes = [size for size in SIZES if size <= images and size % multiple_of == 0]
    sizes = sizes or [images // multiple_of * multiple_of]
    best, rate, growth = sizes[0], 0.0, 0.0
    for size in sizes:
        if 2 * growth > _SHARE_OF_HOST * host_memory_left():
            display.say(f"  batch size {size}: would not fit into this machine's memory")
            break
        before = _peak()
        try:
            seconds = _timed(step, size)
        except Exception as error:
            if size == sizes[0] or not is_out_of_memory(error):
                raise
            display.say(f"  batch size {size}: does not fit into memory")
            break
        growth = max(growth, _peak() - before)
        display.say(f"  batch size {size}: {size / seconds:,.1f} images/s")
        if size / seconds < GAIN * rate:
            break
        best, rate = size, size / seconds
    return best


def _timed(step: Callable[[int], None], size: int) -> float:
    step(size)  # compiles
    times: list[float] = []
    while len(times) < _REPEATS and sum(times) < _SECONDS:
        started = time.perf_counter()
        step(size)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def host_memory_left() -> float:
    """Bytes that this process may still take: of the machine, or of its control group."""
    with open("/proc/meminfo", encoding="ascii") as file:
        told = dict(line.split(":", 1) for line in file)
    left = 1024.0 * int(told["MemAvailable"].split()[0])
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and (most := limit.read_text().strip()) != "max":
        left = min(left, float(most) - float(used.read_text()))
    return left


def _peak() -> float:
    """The most bytes that this process has ever held."""
    import resource

    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
