"""Time one hot path alone in a new process, with its first call and its memory.

Run as ``python -m cxrbench.perf.alone TASK``, with and answering in JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from cxrbench.errors import CxrbenchError

ENOUGH_CALLS, LEAST_CALLS, MOST_SECONDS = 20, 3, 10.0
"""Calls of a path, for at least the seconds of its task; fewer calls after so many seconds."""


class PathFailed(CxrbenchError):
    """A path could not be set up or called; the message is its own."""


@dataclass(frozen=True)
class Task:
    """A path by its name, and fields of `ImageSet`; ``threads`` share work that reads images."""

    path: str
    films: str
    image_size: int = 224
    batch_size: int = 32
    device: str = "auto"
    threads: int = 1
    seconds: float = 1.0


@dataclass(frozen=True)
class CallTimes:
    """The times and the memory of one path.

    ``calls`` are the seconds of each timed call, ``wall`` those of all together: with ``threads``
    above 1, several calls run at once. A call processes ``images`` images. ``set_up_seconds`` and
    ``first_call_seconds`` (loading, compiling) are in none of these. ``memory`` is the additional
    peak memory of the process in bytes, from its first call on; None if the system does not report
    it. ``device`` is as in `HotPath`; of a GPU neither memory nor threads are known.
    """

    step: str
    images: int
    calls: tuple[float, ...]
    wall: float
    threads: int | None
    device: str | None
    backend: str | None
    set_up_seconds: float
    first_call_seconds: float
    memory: int | None


def time_alone(task: Task) -> CallTimes:
    """Time the path in a process of its own.

    Raises
    ------
    PathFailed : it failed, or its process died.
    """
    command = [sys.executable, "-P", "-m", __name__, json.dumps(asdict(task))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise PathFailed(lines[-1] if lines else f"its process ended with {done.returncode}")
    answer = json.loads(done.stdout)
    if "failed" in answer:
        raise PathFailed(answer["failed"])
    return CallTimes(**{**answer, "calls": tuple(answer["calls"])})


def main() -> None:
    """Answer the task in the first argument; a failure is an answer too."""
    # Prints of anybody must not get into the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        answer = asdict(time_here(Task(**json.loads(sys.argv[1]))))
    except Exception as error:  # a path may be anybody's code
        problem = error.problem if isinstance(error, CxrbenchError) else str(error)
        answer = {"failed": f"{type(error).__name__}: {' '.join(problem.split())}"}
    json.dump(answer, answers)
    answers.close()


def time_here(task: Task) -> CallTimes:
    """Time the path in this process, whose memory has to be its own to mean anything."""
    from cxrbench.perf.hot_paths import ImageSet, set_up
    from cxrbench.store.image_pass import quiet_single_threaded_libraries

    films = ImageSet.read(
        Path(task.films),
        image_size=task.image_size,
        network_size=task.image_size,
        batch_size=task.batch_size,
        device=task.device,
    )
    since = time.perf_counter()
    path = set_up(task.path, films)
    set_up_seconds = time.perf_counter() - since
    with ExitStack() as limits:
        if path.device is None:
            from threadpoolctl import threadpool_limits

            limits.enter_context(quiet_single_threaded_libraries())
            limits.enter_context(threadpool_limits(1))
        before = _forget_the_peak()
        since = time.perf_counter()
        path.call()
        first = time.perf_counter() - since
        if first < MOST_SECONDS:  # a backend may compile again at the second call
            path.call()
        at_once = task.threads if path.step == "prepare" else 1
        calls, wall = _calls(path.call, at_once, task.seconds)
        grown = None if before is None else _status("VmHWM") - before
    return CallTimes(
        step=path.step,
        images=path.images,
        calls=calls,
        wall=wall,
        threads=at_once if path.device is None else _threads_of(path.device),
        device=path.device,
        backend=None if path.device is None else _backend(),
        set_up_seconds=set_up_seconds,
        first_call_seconds=first,
        memory=grown,
    )


def _calls(
    call: Callable[[], object], threads: int, seconds: float
) -> tuple[tuple[float, ...], float]:
    """The seconds of each call, and of all of them; every thread goes on by itself."""
    since = time.perf_counter()
    if threads == 1:
        loops = [_loop(call, seconds)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(partial(_loop, call, seconds)) for _ in range(threads)]
            loops = [future.result() for future in futures]
    return tuple(one for loop in loops for one in loop), time.perf_counter() - since


def _loop(call: Callable[[], object], seconds: float) -> list[float]:
    taken: list[float] = []
    began = time.perf_counter()
    while True:
        since = time.perf_counter()
        call()
        now = time.perf_counter()
        taken.append(now - since)
        enough = len(taken) >= ENOUGH_CALLS and now - began >= seconds
        if enough or (len(taken) >= LEAST_CALLS and now - began >= MOST_SECONDS):
            return taken


def _threads_of(device: str) -> int | None:
    """Keras uses all cores; of a GPU the number is unknown."""
    return len(os.sched_getaffinity(0)) if device == "cpu" else None


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


def _forget_the_peak() -> int | None:
    """The memory of this process now, from which its peak counts anew; None if unknown."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # no Linux, or one that forbids it
        return None
    return _status("VmRSS")


def _status(name: str) -> int:
    """Bytes by a name of ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
