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
    if "keras" not in sys.modules:
        _import_quietly(wanted or "tensorflow")
    import keras

    return keras


def _import_quietly(wanted: str) -> None:
    try:
        with _without_tensorflows_announcements():
            import keras

            if keras.backend.backend() == "tensorflow":
                _prepare_tensorflow()
    except ImportError as error:
        raise DeviceError(
            "the Keras backend cannot be imported",
            expected=f"{wanted} installed",
            found=str(error),
            fix="pip install tensorflow"
            if wanted == "tensorflow"
            else f"pip install 'cxrbench[{wanted}]', or unset KERAS_BACKEND",
        ) from error


def _prepare_tensorflow() -> None:
    """Look for GPUs now, which is announced; without one, make processes agree to the last bit.

    TensorFlow rewrites graphs in an order that differs from process to process, and with it the
    rounding of ResNet50's gradients when a part of it is frozen; `enable_op_determinism` does not
    help. Without rewriting 12 of 12 processes agreed, at no cost: of processor time, a batch of 32
    at 64 x 64 took 441 ms to train instead of 470, and 254 ms to predict instead of 256.
    """
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def set_seed(seed: int) -> None:
    """Seed what Keras draws when a model is built: weights, and the state of dropout."""
    keras = load_keras()
    # Keras imports TensorFlow to seed it too, whatever the backend is.
    with _without_tensorflows_announcements():
        keras.utils.set_random_seed(seed)


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
    """Whether models are compiled by XLA, to train and to predict.

    Keras' own choice: JAX always, TensorFlow with a GPU only, PyTorch never. On a CPU XLA does not
    pay under TensorFlow: ResNet50 at 64 x 64 in batches of 32 took 5.1 s of processor time for a
    training step instead of 1.1, 2.0 to predict a batch instead of 0.29, and 52 instead of 32 for
    the first step; a head on embeddings 23 ms instead of 10 (2 cores, AVX-512).
    """
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
