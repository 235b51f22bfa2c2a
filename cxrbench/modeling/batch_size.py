"""Find the batch size: the largest that fits into memory and still makes training faster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrbench.errors import CxrbenchError, OutOfMemory
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import backend_name

SIZES = (8, 16, 32, 64, 128, 256, 512)
GAIN = 1.05
"""A doubled size must train this many times as many images per second to be worth fewer steps."""

# The share of the free memory that the host may use: the pages of mapped files need the rest.
_SHARE_OF_HOST = 0.8
# A size is timed this many times, or for this long: one step of many seconds is enough.
_REPEATS = 3
_SECONDS = 5.0


def find_batch_size(
    step: Callable[[int], None], images: int, display: Display, *, multiple_of: int = 1
) -> int:
    """Return the largest size at which ``step(size)``, one training step, is worth its memory.

    Sizes are tried in the order of `SIZES`, up to ``images``. A size is refused if its step runs
    out of memory, or if it would not fit into the host's memory, judging by smaller sizes. Sizes
    are multiples of ``multiple_of``, the number of devices.

    Raises
    ------
    Exception : any error of ``step`` at the smallest size.
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
            seconds = _step_seconds(step, size)
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


def _step_seconds(step: Callable[[int], None], size: int) -> float:
    step(size)  # compiles
    times: list[float] = []
    while len(times) < _REPEATS and sum(times) < _SECONDS:
        start = time.perf_counter()
        step(size)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def host_memory_left() -> float:
    """The bytes that this process may still use, of the machine or of its control group."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = dict(line.split(":", 1) for line in file)
    free = 1024.0 * int(memory["MemAvailable"].split()[0])
    group = Path("/sys/fs/cgroup")
    limit, usage = group / "memory.max", group / "memory.current"
    if limit.exists() and usage.exists() and (most := limit.read_text().strip()) != "max":
        free = min(free, float(most) - float(usage.read_text()))
    return free


def _peak() -> float:
    """The most bytes that this process has ever used."""
    import resource

    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# Exhausted memory


@contextmanager
def memory_advice(doing: str) -> Iterator[None]:
    """Turn the backend's error for exhausted memory into `OutOfMemory` with advice."""
    try:
        yield
    except CxrbenchError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"memory ran out while {doing}",
            found=" ".join(str(error).split())[:200] or type(error).__name__,
            fix="use a smaller --batch-size (auto finds the largest that fits) or --image-size; "
            "--protocol probe needs the least memory. Each of these changes the result, so "
            "cxrbench does not choose for you",
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is an error of NumPy or the current backend for exhausted memory."""
    if isinstance(error, MemoryError):
        return True
    backend = backend_name()
    if backend == "tensorflow":
        import tensorflow as tf

        return isinstance(error, tf.errors.ResourceExhaustedError)
    if backend == "jax":
        import jax

        return isinstance(error, jax.errors.JaxRuntimeError) and (
            "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)
        )
    import torch

    # On a CPU PyTorch raises a bare RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
