"""What differs between frameworks when a GPU is measured, and the sampling of its load."""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# The driver's counter looks back over up to a second: the first samples tell of what went before.
_LOOKS_BACK = 1.0
_INTERVAL = 0.05


def synchronise(framework: str) -> None:
    """Wait until the GPU has done all that it was given."""
    if framework == "tensorflow":
        import tensorflow as tf

        tf.test.experimental.sync_devices()
    elif framework == "jax":
        import jax

        jax.block_until_ready(jax.live_arrays())
    else:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def memory_in_use(framework: str) -> int | None:
    """Bytes of arrays and scratch space that the framework holds on the first GPU right now."""
    if framework == "tensorflow":
        return _tensorflow_memory("current")
    if framework == "jax":
        return _jax_memory("bytes_in_use")
    import torch

    return int(torch.cuda.memory_allocated()) if torch.cuda.is_available() else None


def peak_memory(framework: str) -> int | None:
    """The most of `memory_in_use` since `reset_peak_memory`; with JAX, since the process began."""
    if framework == "tensorflow":
        return _tensorflow_memory("peak")
    if framework == "jax":
        return _jax_memory("peak_bytes_in_use")
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None


def reset_peak_memory(framework: str) -> None:
    """Begin the search for a peak anew; JAX cannot."""
    if framework == "tensorflow":
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            tf.config.experimental.reset_memory_stats("GPU:0")
    elif framework == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()


def _tensorflow_memory(which: str) -> int | None:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")[which])


def _jax_memory(which: str) -> int | None:
    import jax

    told = jax.devices()[0].memory_stats()  # None on a CPU
    return None if told is None else int(told[which])


def memory_is_shared() -> None:
    """Keep JAX and TensorFlow from taking the whole GPU, so that processes can take turns on it.

    To be called before either is imported. JAX's allocator is the same one, it only grows.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


class Watch:
    """Samples the load of the GPU, and JAX's memory, in a thread while a context lasts."""

    def __init__(self, framework: str) -> None:
        self._framework = framework
        self._begin = time.perf_counter()
        self._before: int | None = None
        self._load: list[tuple[float, float]] = []
        self._memory: list[int] = []

    @property
    def gpu_share(self) -> float | None:
        """Share of the time that the GPU computed anything; None where nobody can say."""
        settled = [load for at, load in self._load if at >= _LOOKS_BACK]
        loads = settled or [load for _, load in self._load]
        return statistics.mean(loads) / 100 if loads else None

    @property
    def peak_memory(self) -> int | None:
        """Bytes; with JAX the highest sample, unless the whole process rose to a new peak."""
        peak = peak_memory(self._framework)
        if self._framework != "jax" or peak != self._before:
            return peak
        return max(self._memory, default=None)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample until the end of the context."""
        reset_peak_memory(self._framework)
        self._before = peak_memory(self._framework)
        self._begin = time.perf_counter()
        stop = threading.Event()
        thread = threading.Thread(target=self._sample, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _sample(self, stop: threading.Event) -> None:
        with _gpu_load() as load:
            while not stop.wait(_INTERVAL):
                if (percent := load()) is not None:
                    self._load.append((time.perf_counter() - self._begin, percent))
                if self._framework == "jax" and (used := memory_in_use("jax")) is not None:
                    self._memory.append(used)


@contextmanager
def _gpu_load() -> Iterator[Callable[[], float | None]]:
    """What tells the load in percent: pynvml, else ``nvidia-smi``, else nobody."""
    index = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(int(index))
    except Exception:  # not installed, no driver, or a GPU named by its UUID
        with _smi(index) as load:
            yield load
        return
    try:
        yield lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    finally:
        nvml.nvmlShutdown()


@contextmanager
def _smi(index: str) -> Iterator[Callable[[], float | None]]:
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
    try:
        process = subprocess.Popen(
            ["nvidia-smi", "-i", index, *query],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError:
        yield lambda: None
        return
    lines = process.stdout
    assert lines is not None

    def load() -> float | None:
        try:
            return float(lines.readline())
        except ValueError:  # its end, or "[N/A]"
            return None

    try:
        yield load
    finally:
        process.terminate()
        process.wait()


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> str:
    """Columns as wide as they need to be; the first ``names`` of them begin at the left."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < names else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (titles, *rows)
    )


def percent(share: float | None) -> str:
    """A share for people to read."""
    return "unknown" if share is None else f"{share:.0%}"


def gigabytes(size: int | None) -> str:
    """Bytes for people to read."""
    return "unknown" if size is None else f"{size / 1e9:.2f} GB"


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)
