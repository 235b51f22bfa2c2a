"""Everything that differs between Keras' backends, the three beside each other."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from tempfile import TemporaryFile
from typing import Any, Literal

from cxrbench.errors import DeviceError

BACKENDS = ("tensorflow", "jax", "torch")


def load_keras() -> Any:
    """Import Keras on the backend that ``KERAS_BACKEND`` (or Keras' own configuration) names.

    Raises
    ------
    DeviceError : the backend is unknown or not installed.
    """
    wanted = os.environ.get("KERAS_BACKEND") or None
    if wanted is not None and wanted not in BACKENDS:
        raise DeviceError(
            f"there is no Keras backend {wanted!r} to compute with",
            expected=", ".join(BACKENDS),
            found=f"KERAS_BACKEND={wanted}",
            fix="set KERAS_BACKEND to one of these, or unset it",
        )
    try:
        with _without_tensorflows_announcements():
            import keras
    except ImportError as error:
        raise DeviceError(
            "the Keras backend cannot be imported",
            expected=f"{wanted or 'tensorflow'} installed",
            found=str(error),
            fix=f"pip install 'cxrbench[{wanted}]', or unset KERAS_BACKEND"
            if wanted in ("jax", "torch")
            else "pip install tensorflow",
        ) from error
    return keras


@contextmanager
def _without_tensorflows_announcements() -> Iterator[None]:
    """Hold back what C++ code writes to standard error; it is shown if anything fails.

    TensorFlow announces its build and looks for CUDA before its log level can be set, on every
    start and on machines without a GPU too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def jit_compile() -> bool | Literal["auto"]:
    return "auto"


def gpu_names() -> tuple[str, ...]:
    """The GPUs that the current backend can use; empty on a machine without."""
    backend = load_keras().backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with _without_tensorflows_announcements():
            devices = tf.config.list_physical_devices("GPU")
        return tuple(
            str(tf.config.experimental.get_device_details(d).get("device_name", d.name))
            for d in devices
        )
    if backend == "jax":
        import jax

        return tuple(str(d.device_kind) for d in jax.devices() if d.platform == "gpu")
    import torch

    return tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def choose_device(wanted: str) -> Literal["cpu", "gpu"]:
    """``auto`` takes a GPU if there is one; ``gpu`` without one is a `DeviceError`."""
    if wanted == "cpu":
        return "cpu"
    found = bool(gpu_names())
    if wanted == "gpu" and not found:
        backend = load_keras().backend.backend()
        raise DeviceError(
            "--device gpu was asked for and there is none",
            expected=f"a GPU that the {backend} backend can use",
            found="only the CPU",
            fix="use --device cpu, or install the extra for your GPU: cxrbench[cuda] "
            "(TensorFlow), cxrbench[jax-cuda] or a CUDA build of PyTorch",
        )
    return "gpu" if found else "cpu"


def device_scope(device: Literal["cpu", "gpu"]) -> AbstractContextManager[Any]:
    """Models built and run in this context live on the device."""
    # Not "cpu:0": PyTorch takes that for a device other than "cpu" and copies every parameter away.
    name = "cpu" if device == "cpu" else "gpu:0"
    scope: AbstractContextManager[Any] = load_keras().device(name)
    return scope


def hardware(device: Literal["cpu", "gpu"]) -> dict[str, str | int]:
    """What the run was computed on, as plain values for ``run.json``."""
    names = gpu_names() if device == "gpu" else ()
    return {
        "device": names[0] if names else _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except FileNotFoundError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def release() -> None:
    """Let go of the models and compiled functions of the run that just ended."""
    import gc

    keras = load_keras()
    keras.backend.clear_session()
    gc.collect()
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
