"""Several devices of one machine: each computes its share of every batch, for each backend.

The size of a batch does not change with the number of devices, and the loss is the one over the
whole batch, its unknown labels left out. Batch normalisation and dropout differ: JAX computes as
one device would; TensorFlow and PyTorch normalise each share by its own statistics (as is usual),
and the moving statistics are the mean of what the devices make of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Literal

import numpy as np

from cxrbench.errors import DeviceError, SettingsError
from cxrbench.modeling.backend import device_scope, gpu_names, load_keras
from cxrbench.modeling.parallel_torch import current_workers, with_workers
from cxrbench.modeling.shares import label_shares
from cxrbench.modeling.shares import share as share_of

Device = Literal["cpu", "gpu"]


@contextmanager
def distributed(device: Device, devices: int) -> Iterator[None]:
    """Models built, compiled, trained and asked in this context use the first ``devices`` devices.

    Inside, `train_batch` and `predict_batch` share a batch out; Keras' own ``*_on_batch`` and
    ``fit`` do not (TensorFlow's would give the whole batch to every device).

    Raises
    ------
    DeviceError : there are not that many.
    """
    if devices == 1:
        with device_scope(device):
            yield
        return
    _check_enough(device, devices)
    scopes: dict[str, Callable[[Device, int], AbstractContextManager[None]]] = {
        "tensorflow": _mirrored,
        "jax": _sharded,
        "torch": with_workers,
    }
    with scopes[_backend()](device, devices):
        yield


def available(device: Device) -> int:
    """How many such devices the backend sees; with PyTorch on CPUs, one for each core."""
    backend = _backend()
    if device == "cpu" and backend == "jax":
        import jax

        return len(jax.devices("cpu"))
    if backend == "tensorflow" and (device == "cpu" or gpu_names()):
        import tensorflow as tf

        return len(tf.config.list_logical_devices(device.upper()))
    return len(os.sched_getaffinity(0)) if device == "cpu" else len(gpu_names())


def train_batch(model: Any, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
    """One step of training on a batch; its loss over all devices' shares.

    The model was compiled with a scalar loss that is a mean over the labels that are not NaN.

    Raises
    ------
    SettingsError : the batch cannot be shared evenly.
    RunError : a process of another device ended or failed (PyTorch).
    """
    devices = _devices_of(model)
    check_batch_size(len(labels), devices)
    if devices > 1 and _backend() == "tensorflow":
        return _train_mirrored(model, inputs, labels)
    if (workers := current_workers()) is not None:
        return workers.train(model, inputs, labels)
    return float(model.train_on_batch(dict(inputs), labels))


def predict_batch(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The model's outputs (n, L) for a batch.

    Raises
    ------
    SettingsError : the batch cannot be shared evenly.
    RunError : a process of another device ended or failed (PyTorch).
    """
    devices = _devices_of(model)
    check_batch_size(len(next(iter(inputs.values()))), devices)
    if devices > 1 and _backend() == "tensorflow":
        return _predict_mirrored(model, inputs)
    if devices > 1 and _backend() == "jax":
        return np.asarray(model.predict_on_batch(_spread(inputs)))
    if (workers := current_workers()) is not None:
        return workers.predict(model, inputs)
    return np.asarray(model.predict_on_batch(dict(inputs)))


def check_batch_size(batch_size: int, devices: int) -> None:
    """Raise a `SettingsError` unless every device gets as many images as the others."""
    if batch_size % devices:
        raise SettingsError(
            f"a batch of {batch_size} images cannot be shared evenly by {devices} devices",
            expected=f"a batch size that {devices} divides",
            found=str(batch_size),
            fix=f"use a batch size of {batch_size // devices * devices or devices}, "
            f"or a number of devices that divides {batch_size}",
        )


def _check_enough(device: Device, devices: int) -> None:
    found = available(device)
    if devices > found:
        raise DeviceError(
            f"{devices} {device.upper()} devices were asked for and there are {found}",
            expected=f"at least {devices} that the {_backend()} backend can use",
            found=str(found),
            fix=f"ask for {found} at most" if found else "use the CPU",
        )


def _backend() -> str:
    return str(load_keras().backend.backend())


def _devices_of(model: Any) -> int:
    """How many devices share the model's batches."""
    backend = _backend()
    if backend == "tensorflow":
        return int(model.distribute_strategy.num_replicas_in_sync)
    if backend == "jax":
        distribution = load_keras().distribution.distribution()
        return 1 if distribution is None else int(distribution.device_mesh.devices.size)
    workers = current_workers()
    return 1 if workers is None else workers.devices


# JAX: arrays that are spread over a mesh of devices; XLA computes as if there were one.


@contextmanager
def _sharded(device: Device, devices: int) -> Iterator[None]:
    distribution = load_keras().distribution
    chosen = distribution.list_devices(device)[:devices]
    with device_scope(device), distribution.DataParallel(devices=chosen).scope():
        yield


def _spread(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """`predict_on_batch` would compute the whole batch on every device otherwise."""
    distribution = load_keras().distribution
    layout = distribution.distribution().get_data_layout
    return {
        name: distribution.distribute_tensor(array, layout(array.shape))
        for name, array in inputs.items()
    }


# TensorFlow: mirrored variables, and one thread for each device's share.


@contextmanager
def _mirrored(device: Device, devices: int) -> Iterator[None]:
    import tensorflow as tf

    def averaged(make: Callable[..., Any], **options: Any) -> Any:
        # Keras leaves the moving statistics of batch normalisation to drift apart, and would save
        # those of the first device.
        if (
            not options.get("trainable", True)
            and options.get("aggregation") == tf.VariableAggregation.NONE
            and tf.as_dtype(options.get("dtype", "int32")).is_floating
        ):
            options["aggregation"] = tf.VariableAggregation.MEAN
        return make(**options)

    with _strategy(device, devices).scope(), tf.variable_creator_scope(averaged):
        yield


@cache
def _strategy(device: Device, devices: int) -> Any:
    """The strategy for these devices, always the same.

    TensorFlow tells the exchanges of two strategies of one process apart by this base alone, and
    takes one model's gradients for another's where it is the same.
    """
    import tensorflow as tf

    class Mirrored(tf.distribute.MirroredStrategy):  # type: ignore[misc]
        _collective_key_base = 1000 * (2 * devices + (device == "gpu"))

    return Mirrored([f"{device.upper()}:{i}" for i in range(devices)])


def _train_mirrored(model: Any, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
    strategy = model.distribute_strategy
    with strategy.scope():
        # Keras makes these variables in the first step otherwise, which fails on several devices.
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        model.make_train_function()
        model.reset_metrics()
    shares = label_shares(labels, strategy.num_replicas_in_sync)

    def share(number: int) -> tuple[Any, ...]:
        truth, weight = shares[number]
        # Keras adds up the devices' gradients; it weights a scalar loss as it is.
        return share_of(inputs, number, len(shares)), truth, np.float32(weight)

    logs = model.train_function(iter([_placed(strategy, share)]))
    return float(logs["loss"])


def _predict_mirrored(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    strategy = model.distribute_strategy
    devices = strategy.num_replicas_in_sync
    with strategy.scope():
        model.make_predict_function()
    placed = _placed(strategy, lambda number: (share_of(inputs, number, devices),))
    return np.asarray(model.predict_function([placed]))


def _placed(strategy: Any, share: Callable[[int], tuple[Any, ...]]) -> Any:
    """One value for each device, on that device."""
    import tensorflow as tf

    def on_its_device(context: Any) -> Any:
        number = context.replica_id_in_sync_group
        with tf.device(strategy.extended.worker_devices[number]):
            return tf.nest.map_structure(tf.constant, share(number))

    return strategy.experimental_distribute_values_from_function(on_its_device)
