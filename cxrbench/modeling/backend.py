"""All code that differs between Keras' backends."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cxrbench.errors import DeviceError
from cxrbench.modeling.announcements import (
    hide_retracing_advice,
    without_tensorflows_announcements,
)
from cxrbench.store.limits import is_shortage

BACKENDS = ("tensorflow", "jax", "torch")


def load_keras() -> Any:
    """Import Keras on the backend that ``KERAS_BACKEND``, or ``keras.json``, names.

    The other values of ``keras.json`` (``floatx``, ``image_data_format``, ``epsilon``) change no
    result: they are set to Keras' defaults.

    Raises
    ------
    DeviceError : the backend is unknown or not installed, or Keras cannot read ``keras.json``.
    """
    if "keras" not in sys.modules:
        _import_quietly(*_named_backend())
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    return keras


def backend_name() -> str:
    """The name of the current Keras backend: one of `BACKENDS`."""
    return str(load_keras().backend.backend())


def _named_backend() -> tuple[str, str]:
    """A backend of `BACKENDS`, and where it is named: ``KERAS_BACKEND=…``, a file, or nothing."""
    backend = os.environ.get("KERAS_BACKEND") or ""
    where = f"KERAS_BACKEND={backend}" if backend else ""
    if not backend:
        try:
            values = json.loads(keras_file().read_bytes())
            backend = str(values["backend"])
            where = f'"backend": "{backend}" in {keras_file()}'
        except (OSError, ValueError, KeyError, TypeError):  # Keras takes its default, or fails
            backend = "tensorflow"
    if backend not in BACKENDS:
        raise DeviceError(
            f"there is no Keras backend {backend!r}",
            expected=", ".join(BACKENDS),
            found=where,
            fix="set KERAS_BACKEND to one of these"
            + (", or unset it" if where.startswith("KERAS") else ", or correct or remove the file"),
        )
    return backend, where


def keras_file() -> Path:
    """Where Keras keeps its configuration."""
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")


def _import_quietly(backend: str, where: str) -> None:
    if not keras_file().is_absolute():  # no home is known: they would make a folder called ~
        os.environ["KERAS_HOME"] = "/dev/null/keras"
    try:
        with without_tensorflows_announcements():
            import keras

            if keras.backend.backend() == "tensorflow":
                _prepare_tensorflow()
    except ImportError as error:
        if is_shortage(error):
            raise
        raise DeviceError(
            "the Keras backend cannot be imported",
            expected=f"an installation of {backend}" + (f" ({where})" if where else ""),
            found=str(error),
            fix="pip install tensorflow"
            if backend == "tensorflow"
            else f"pip install 'cxrbench[{backend}]', or set KERAS_BACKEND=tensorflow",
        ) from error
    except (ValueError, AttributeError, TypeError) as error:
        if not keras_file().exists():
            raise
        raise DeviceError(
            f"Keras cannot be imported with {keras_file()}",
            expected="a file that this version of Keras wrote",
            found=" ".join(str(error).split()),
            fix="correct the file, or remove it; Keras then writes a new one",
        ) from error


def _prepare_tensorflow() -> None:
    """Look for GPUs now, since TensorFlow announces it; without one, make processes agree exactly.

    TensorFlow rewrites graphs in an order that differs from process to process, and with it the
    rounding of ResNet50's gradients when a part of it is frozen; `enable_op_determinism` does not
    help. Without rewriting 12 of 12 processes agreed, at no cost: of processor time, a batch of 32
    at 64 x 64 took 441 ms to train instead of 470, and 254 ms to predict instead of 256.
    """
    import tensorflow as tf

    hide_retracing_advice()
    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def set_seed(seed: int) -> None:
    """Seed the random values of building a model: weights, and the state of dropout."""
    keras = load_keras()
    # Keras imports TensorFlow to seed it too, whatever the backend is.
    with without_tensorflows_announcements():
        keras.utils.set_random_seed(seed)


def random_state() -> list[np.ndarray]:
    """The state of random generators that are not variables of a model.

    PyTorch draws dropout from its own generators if a layer has no seed; TensorFlow and JAX have no
    such state.
    """
    if backend_name() != "torch":
        return []
    import torch

    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return [state.numpy() for state in states]


def set_random_state(states: Sequence[np.ndarray]) -> None:
    """Continue drawing from a `random_state`."""
    if backend_name() != "torch":
        return
    import torch

    first, *gpus = [torch.from_numpy(state) for state in states]
    torch.set_rng_state(first)
    torch.cuda.set_rng_state_all(gpus)


def gpu_names() -> tuple[str, ...]:
    """The names of the GPUs that the current backend can use."""
    backend = backend_name()
    if backend == "tensorflow":
        import tensorflow as tf

        with without_tensorflows_announcements():
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


def choose_device(option: str) -> Literal["cpu", "gpu"]:
    """``auto`` uses a GPU if there is one; ``gpu`` without one is a `DeviceError`."""
    if option == "cpu" or (option == "auto" and not gpu_names()):
        return "cpu"
    if not gpu_names():
        raise DeviceError(
            "--device gpu needs a GPU, and there is none",
            expected=f"a GPU that the {backend_name()} backend can use",
            found=unused_gpu() or "only the CPU",
            fix="use --device cpu, or install the extra for your GPU: cxrbench[cuda] "
            "(TensorFlow), cxrbench[jax-cuda] or a CUDA build of PyTorch",
        )
    return "gpu"


_GPU_BUILDS = {
    "tensorflow": "pip install 'cxrbench[cuda]'",
    "jax": "pip install 'cxrbench[jax-cuda]'",
    "torch": "install a CUDA build of PyTorch",
}


def unused_gpu(drivers: Path = Path("/proc/driver/nvidia/gpus")) -> str | None:
    """A sentence about a GPU of this machine that the backend cannot use, else None.

    ``drivers`` is the folder in which NVIDIA's driver lists the GPUs.
    """
    # A user who hides the GPUs knows of them; without a GPU, no backend is loaded for this.
    count = len(list(drivers.iterdir())) if drivers.is_dir() else 0
    if not count or "CUDA_VISIBLE_DEVICES" in os.environ or gpu_names():
        return None
    backend, has = backend_name(), "a GPU" if count == 1 else f"{count} GPUs"
    advice = f"{backend} computes on the CPU; to use the GPU: {_GPU_BUILDS[backend]}"
    return f"this machine has {has}, but {advice}"


def device_scope(device: Literal["cpu", "gpu"]) -> AbstractContextManager[Any]:
    """Models that are built and run in this context live on the device."""
    # Not "cpu:0": to PyTorch that is not the device "cpu", and it would copy every parameter.
    name = "cpu" if device == "cpu" else "gpu:0"
    scope: AbstractContextManager[Any] = load_keras().device(name)
    return scope


def choose_precision(option: str, device: Literal["cpu", "gpu"]) -> Literal["float32", "bfloat16"]:
    """``auto`` is bfloat16 on a GPU with bfloat16 units, and float32 everywhere else."""
    is_chosen = option == "auto" and device == "gpu" and _has_bfloat16()
    return "bfloat16" if option == "bfloat16" or is_chosen else "float32"


def _has_bfloat16() -> bool:
    """Whether the first GPU has bfloat16 units (NVIDIA: compute capability 8.0 or higher)."""
    backend = backend_name()
    if backend == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        details = tf.config.experimental.get_device_details(gpu)
        return bool(details.get("compute_capability", (0, 0)) >= (8, 0))
    if backend == "jax":
        import jax

        gpu = next(device for device in jax.devices() if device.platform == "gpu")
        return float(getattr(gpu, "compute_capability", 0)) >= 8.0
    import torch

    return bool(torch.cuda.get_device_capability(0) >= (8, 0))


@contextmanager
def precision_scope(precision: Literal["float32", "bfloat16"]) -> Iterator[None]:
    """Models that are built in this context compute in this precision; weights are float32."""
    config = load_keras().config
    before = config.dtype_policy()
    config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def value_and_gradient(
    function: Callable[[Any], Any], at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a function of tensors at an array, and the gradient of their sum.

    ``function`` maps a tensor (N, ...) to one (N,), with Keras' operations and layers. If value n
    depends on row n alone, as with a model at inference, row n of the gradient is that of value n.
    A function that ignores its argument has a gradient of zeros.
    """
    keras = load_keras()
    point = keras.ops.convert_to_tensor(at)
    if backend_name() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point)
            value = function(point)
        gradient = tape.gradient(value, point, unconnected_gradients="zero")
    elif backend_name() == "jax":
        import jax

        def summed(point: Any) -> tuple[Any, Any]:
            value = function(point)
            return value.sum(), value

        gradient, value = jax.grad(summed, has_aux=True)(point)
    else:
        import torch

        with torch.enable_grad():
            value = function(point.requires_grad_())
            (gradient,) = torch.autograd.grad(
                value.sum(), point, allow_unused=True, materialize_grads=True
            )
    return keras.ops.convert_to_numpy(value), keras.ops.convert_to_numpy(gradient)


def hardware(device: Literal["cpu", "gpu"]) -> dict[str, str | int]:
    """The hardware of a run, as plain values for ``run.json``."""
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
    """Free the models and compiled functions of the run that just ended."""
    import gc

    keras = load_keras()
    keras.backend.clear_session()
    gc.collect()
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
