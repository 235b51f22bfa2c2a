"""Divide each batch among several devices of one machine, on JAX and on TensorFlow.

The size of a batch does not change with the number of devices, and the loss is computed over the
whole batch, without unknown labels. Batch normalisation and dropout differ: JAX computes as one
device would; TensorFlow normalises each share by its own statistics (as is usual) and averages the
moving statistics. Keras 3.15 cannot share a batch on PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Literal

import numpy as np

from cxrbench.errors import DeviceError, SettingsError
from cxrbench.modeling.backend import backend_name, device_scope, gpu_names, load_keras

Device = Literal["cpu", "gpu"]


@contextmanager
def distributed(device: Device, devices: int) -> Iterator[None]:
    """Models built, compiled, trained and used in this context share the first ``devices`` devices.

    Inside, `train_batch` and `predict_batch` share a batch out; Keras' own ``*_on_batch`` and
    ``fit`` do not (TensorFlow's would give the whole batch to every device).

    Raises
    ------
    DeviceError : there are not that many, or the backend is PyTorch.
    """
    if devices == 1:
        with device_scope(device):
            yield
        return
    scopes: Mapping[str, Callable[[Device, int], AbstractContextManager[None]]] = {
        "tensorflow": _mirrored,
        "jax": _sharded,
    }
    backend = backend_name()
    if backend not in scopes:
        raise DeviceError(
            f"--devices {devices} does not work with PyTorch",
            expected="KERAS_BACKEND=jax or KERAS_BACKEND=tensorflow, or --devices 1",
            found=f"KERAS_BACKEND={backend}",
            fix="set KERAS_BACKEND to jax or tensorflow, or leave out --devices",
        )
    count = available(device)
    if devices > count:
        raise DeviceError(
            f"--devices {devices} needs more {device.upper()} devices than there are",
            expected=f"at least {devices} that the {backend} backend can use",
            found=str(count),
            fix=f"use --devices {count} or fewer" if count else "use --device cpu",
        )
    with scopes[backend](device, devices):
        yield


def available(device: Device) -> int:
    """The number of such devices that JAX or TensorFlow can use."""
    if device == "gpu" and not gpu_names():
        return 0
    if backend_name() == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_logical_devices(device.upper()))
    import jax

    return len(jax.devices(device))


def train_batch(model: Any, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
    """Train one step on a batch and return its loss over all devices' shares.

    The model was compiled with a scalar loss that is a mean over the labels that are not NaN.

    Raises
    ------
    SettingsError : the batch cannot be divided evenly.
    """
    devices = _devices_of(model)
    check_batch_size(len(labels), devices)
    if devices > 1 and backend_name() == "tensorflow":
        return _train_mirrored(model, inputs, labels)
    return float(model.train_on_batch(dict(inputs), labels))


def predict_batch(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the model's outputs (n, L) for a batch.

    Raises
    ------
    SettingsError : the batch cannot be divided evenly.
    """
    devices = _devices_of(model)
    check_batch_size(len(next(iter(inputs.values()))), devices)
    if devices > 1 and backend_name() == "tensorflow":
        return _predict_mirrored(model, inputs)
    return np.asarray(model.predict_on_batch(dict(inputs) if devices == 1 else _spread(inputs)))


def check_batch_size(batch_size: int, devices: int) -> None:
    """Raise a `SettingsError` unless the number of devices divides the batch size."""
    if batch_size % devices:
        raise SettingsError(
            f"a batch of {batch_size} images cannot be divided evenly among {devices} devices",
            expected=f"a batch size that is a multiple of {devices}",
            found=str(batch_size),
            fix=f"use a batch size of {batch_size // devices * devices or devices}, "
            f"or a number of devices that divides {batch_size}",
        )


def _devices_of(model: Any) -> int:
    """How many devices share the model's batches."""
    backend = backend_name()
    if backend == "tensorflow":
        return int(model.distribute_strategy.num_replicas_in_sync)
    if backend == "jax":
        distribution = load_keras().distribution.distribution()
        return 1 if distribution is None else int(distribution.device_mesh.devices.size)
    return 1


# JAX: arrays are spread over a mesh of devices; XLA computes as if there were one.


@contextmanager
def _sharded(device: Device, devices: int) -> Iterator[None]:
    distribution = load_keras().distribution
    names = distribution.list_devices(device)[:devices]
    with device_scope(device), distribution.DataParallel(devices=names).scope():
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

    def average(make: Callable[..., Any], **options: Any) -> Any:
        # In Keras the moving statistics of batch normalisation differ between devices, and only
        # those of the first device would be saved.
        if (
            not options.get("trainable", True)
            and options.get("aggregation") == tf.VariableAggregation.NONE
            and tf.as_dtype(options.get("dtype", "int32")).is_floating
        ):
            options["aggregation"] = tf.VariableAggregation.MEAN
        return make(**options)

    with _strategy(device, devices).scope(), tf.variable_creator_scope(average):
        yield


@cache
def _strategy(device: Device, devices: int) -> Any:
    """The strategy for these devices, always the same.

    TensorFlow distinguishes the exchanges of two strategies of one process by this base alone. With
    the same base, it would mix up the gradients of two models.
    """
    import tensorflow as tf

    class Mirrored(tf.distribute.MirroredStrategy):  # type: ignore[misc]
        _collective_key_base = 1000 * (2 * devices + (device == "gpu"))

    return Mirrored([f"{device.upper()}:{i}" for i in range(devices)])


def _train_mirrored(model: Any, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
    strategy = model.distribute_strategy
    with strategy.scope():
        # Otherwise Keras creates these variables in the first step, which fails on several devices.
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        model.make_train_function()
        model.reset_metrics()
    truths = np.array_split(labels, strategy.num_replicas_in_sync)
    counts = [np.count_nonzero(~np.isnan(truth)) for truth in truths]

    def share(number: int) -> tuple[Any, ...]:
        # Keras adds up the devices' gradients, so each loss is weighted by its known labels.
        weight = np.float32(counts[number] / max(sum(counts), 1))
        return _share(inputs, number, len(truths)), truths[number], weight

    logs = model.train_function(iter([_place(strategy, share)]))
    return float(logs["loss"])


def _predict_mirrored(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    strategy = model.distribute_strategy
    devices = strategy.num_replicas_in_sync
    with strategy.scope():
        model.make_predict_function()
    values = _place(strategy, lambda number: (_share(inputs, number, devices),))
    return np.asarray(model.predict_function([values]))


def _share(values: Mapping[str, np.ndarray], number: int, devices: int) -> dict[str, np.ndarray]:
    return {name: np.array_split(array, devices)[number] for name, array in values.items()}


def _place(strategy: Any, share: Callable[[int], tuple[Any, ...]]) -> Any:
    """One value for each device, on that device."""
    import tensorflow as tf

    def on_its_device(context: Any) -> Any:
        number = context.replica_id_in_sync_group
        with tf.device(strategy.extended.worker_devices[number]):
            return tf.nest.map_structure(tf.constant, share(number))

    return strategy.experimental_distribute_values_from_function(on_its_device)
