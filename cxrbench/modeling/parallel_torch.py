"""Several devices with PyTorch: a process for each but the first.

This process's model is the only one with a state: before a step its weights go to the others,
afterwards their gradients come back, both through shared memory, and its optimizer makes the step.
So whatever is set or saved here holds.
"""

from __future__ import annotations

import pickle
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np

from cxrbench.errors import DeviceError, RunError
from cxrbench.modeling.backend import device_scope, load_keras
from cxrbench.modeling.shares import label_shares, share

Device = Literal["cpu", "gpu"]


@contextmanager
def with_workers(device: Device, devices: int) -> Iterator[None]:
    """Processes for the other devices for as long as the context lasts."""
    import torch

    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(max(1, threads // devices))
    workers = _Workers(device, devices)
    token = _WORKERS.set(workers)
    try:
        with device_scope(device):
            yield
    finally:
        _WORKERS.reset(token)
        workers.close()
        torch.set_num_threads(threads)


@dataclass(eq=False)
class _Replicated:
    """A model whose copies live in the workers, and the memory that is shared with them."""

    model: Any
    trainable: list[int]  # the identities of the variables that train
    weights: Any  # (all weights,) float32
    results: list[Any]  # of each worker, the same shape
    sent: list[int] = field(default_factory=list)  # the version of each weight in `weights`

    def publish(self) -> list[int]:
        """Write the weights that changed since the last time; their numbers."""
        import torch

        values = [weight.value for weight in self.model.weights]
        # PyTorch counts every write to a tensor: its gradients depend on that.
        versions = [value._version for value in values]
        changed = [i for i, version in enumerate(versions) if self.sent[i : i + 1] != [version]]
        with torch.no_grad():
            parts = _parts(self.weights, values)
            for i in changed:
                parts[i].copy_(values[i])
        self.sent[:] = versions
        return changed


class _Workers:
    """The processes of the devices 1, 2, …; device 0 is this process's."""

    def __init__(self, device: Device, devices: int) -> None:
        from torch import multiprocessing

        self.devices = devices
        self._models: list[_Replicated] = []
        self._pipes, self._processes = [], []
        context = multiprocessing.get_context("spawn")
        for number in range(1, devices):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, device, number), daemon=True)
            process.start()
            theirs.close()  # else the end of the process would not end the pipe
            self._pipes.append(ours)
            self._processes.append(process)

    def train(self, model: Any, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
        import torch

        shares = label_shares(labels, self.devices)
        replicated = self._replicated(model)
        common = (self._number(replicated), replicated.publish(), _Seeds.of(model))
        with self._unless_broken():
            for number, pipe in enumerate(self._pipes, 1):
                pipe.send(("train", *common, share(inputs, number, self.devices), *shares[number]))
            loss, gradients, statistics = _gradients(
                model, share(inputs, 0, self.devices), *shares[0]
            )
            loss += sum(self._receive())
        own = [*gradients, *statistics]
        with torch.no_grad():
            for result in replicated.results:
                for mine, other in zip(own, _parts(result, own), strict=True):
                    mine.add_(other.to(mine.device))
            for statistic in statistics:
                statistic.div_(self.devices)
            used = [v for v in model.trainable_variables if v.value.grad is not None]
            model.optimizer.apply(gradients, used)
        return loss

    def predict(self, model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        replicated = self._replicated(model)
        common = (self._number(replicated), replicated.publish())
        with self._unless_broken():
            for number, pipe in enumerate(self._pipes, 1):
                pipe.send(("predict", *common, share(inputs, number, self.devices)))
            first = np.asarray(model.predict_on_batch(share(inputs, 0, self.devices)))
            return np.concatenate([first, *self._receive()])

    def close(self) -> None:
        """End the processes: each ends when its pipe does, or is killed."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=5)
            process.kill()
            process.join()
        self._pipes, self._processes = [], []

    def _number(self, replicated: _Replicated) -> int:
        return self._models.index(replicated)

    def _replicated(self, model: Any) -> _Replicated:
        """The model's copies; made at its first batch, or anew when other parts of it train."""
        import torch

        trainable = [id(variable) for variable in model.trainable_variables]
        for known in self._models:
            if known.model is model and known.trainable == trainable:
                return known
        size = sum(weight.value.numel() for weight in model.weights)
        weights, *results = (torch.zeros(size).share_memory_() for _ in range(self.devices))
        replicated = _Replicated(model, trainable, weights, results)
        own = {
            type(layer).__name__: type(layer)
            for layer in model._flatten_layers()
            if not type(layer).__module__.startswith("keras.")
        }
        config = load_keras().saving.serialize_keras_object(model)
        config.pop("compile_config")  # copies have no optimizer
        try:
            pickle.dumps((own, model.loss))
        except (AttributeError, pickle.PicklingError) as error:
            raise DeviceError(
                "the model cannot be copied to other processes, one for each device with PyTorch",
                expected="layers and a loss that can be imported from a module",
                found=str(error),
                fix="use one device, or KERAS_BACKEND=jax or tensorflow",
            ) from error
        with self._unless_broken():
            for pipe, result in zip(self._pipes, results, strict=True):
                pipe.send(("copy", config, own, model.loss, weights, result))
            self._receive()
        self._models.append(replicated)
        return replicated

    def _receive(self) -> list[Any]:
        replies = [pipe.recv() for pipe in self._pipes]
        for number, (worked, value) in enumerate(replies, 1):
            if not worked:
                self._raise(f"device {number} failed", value)
        return [value for _, value in replies]

    @contextmanager
    def _unless_broken(self) -> Iterator[None]:
        """Whatever goes wrong between a command and its replies ends the processes."""
        if not self._processes:
            self._raise("the other devices' processes have ended", "none")
        try:
            yield
        except (EOFError, OSError) as error:
            self.close()
            self._raise("a process of another device ended", repr(error))
        except BaseException:
            self.close()
            raise

    def _raise(self, problem: str, found: str) -> NoReturn:
        raise RunError(
            f"{problem} while {self.devices} devices computed together",
            expected=f"{self.devices - 1} processes beside this one, to the end",
            found=found,
            fix="see whether the machine ran out of memory; try smaller batches or one device",
        )


_WORKERS: ContextVar[_Workers | None] = ContextVar("workers", default=None)


def current_workers() -> _Workers | None:
    """The other devices' processes; None outside `with_workers`."""
    return _WORKERS.get()


def _parts(flat: Any, tensors: Sequence[Any]) -> list[Any]:
    """Views of a flat tensor, one after the other, in the shapes of these tensors."""
    sizes = [tensor.numel() for tensor in tensors]
    parts = flat[: sum(sizes)].split(sizes)
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _seed_variables(model: Any) -> list[Any]:
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


@dataclass(frozen=True)
class _Seeds:
    """What a step draws follows from the first device's: Keras' generators, and PyTorch's own."""

    states: list[list[int]]
    pytorchs: int

    @classmethod
    def of(cls, model: Any) -> _Seeds:
        import torch

        states = [variable.value.tolist() for variable in _seed_variables(model)]
        return cls(states, int(torch.randint(2**31, ())))

    def plant(self, model: Any, device: int) -> None:
        """Every device gets its own, or dropout would drop the same of every share."""
        import torch

        torch.manual_seed(self.pytorchs + device)
        for variable, (seed, count) in zip(_seed_variables(model), self.states, strict=True):
            variable.assign([(seed + 1_000_003 * device) % 2**31, count])


def _gradients(
    model: Any, inputs: Mapping[str, np.ndarray], labels: np.ndarray, weight: float
) -> tuple[float, list[Any], list[Any]]:
    """The weighted loss, its gradients, and the statistics that the batch changed."""
    fixed = [variable.value for variable in model.weights if not variable.trainable]
    before = [value._version for value in fixed]
    model.zero_grad()
    outputs = model(dict(inputs), training=True)
    loss = model.compute_loss(x=inputs, y=labels, y_pred=outputs, training=True) * weight
    loss.backward()
    gradients = [variable.value.grad for variable in model.trainable_variables]
    changed = [value for value, old in zip(fixed, before, strict=True) if value._version != old]
    return loss.item(), [gradient for gradient in gradients if gradient is not None], changed


def _work(pipe: Any, device: Device, number: int) -> None:
    """A worker: obey the commands that come through the pipe until it ends."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first process too
    keras = load_keras()
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(number)
    worker = _Worker(number)
    with keras.device("cpu" if device == "cpu" else f"gpu:{number}"):
        while True:
            try:
                command, *arguments = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                reply = True, getattr(worker, command)(*arguments)
            except Exception:  # told by the first process
                reply = False, traceback.format_exc()
            try:
                pipe.send(reply)
            except OSError:
                return


class _Worker:
    """What a worker does; each method is a command."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._copies: list[tuple[Any, Any, Any]] = []

    def copy(self, config: Any, own: Any, loss: Any, weights: Any, result: Any) -> None:
        keras = load_keras()
        model = keras.saving.deserialize_keras_object(config, custom_objects=own)
        model.compile(loss=loss)
        self._copies.append((model, weights, result))

    def train(
        self,
        copy: int,
        changed: list[int],
        seeds: _Seeds,
        inputs: dict[str, np.ndarray],
        labels: np.ndarray,
        weight: float,
    ) -> float:
        import torch

        model = self._updated(copy, changed)
        seeds.plant(model, self._number)
        loss, gradients, statistics = _gradients(model, inputs, labels, weight)
        tensors = [*gradients, *statistics]
        with torch.no_grad():
            for part, tensor in zip(_parts(self._copies[copy][2], tensors), tensors, strict=True):
                part.copy_(tensor)
        return loss

    def predict(self, copy: int, changed: list[int], inputs: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(self._updated(copy, changed).predict_on_batch(inputs))

    def _updated(self, copy: int, changed: list[int]) -> Any:
        import torch

        model, weights, _ = self._copies[copy]
        values = [weight.value for weight in model.weights]
        parts = _parts(weights, values)
        with torch.no_grad():
            for i in changed:
                values[i].copy_(parts[i])
        return model
