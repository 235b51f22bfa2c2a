"""The Ray executor: images and runs become tasks of a cluster; what a lost node had goes on."""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from cxrbench.errors import CxrbenchError, ExecutorError
from cxrbench.experiment.executors import ray_tasks
from cxrbench.experiment.executors.interface import Item, Needs, Place, Result
from cxrbench.experiment.executors.ray_checks import check_nodes, only_on
from cxrbench.experiment.executors.ray_connect import connected
from cxrbench.experiment.executors.ray_display import Relay
from cxrbench.experiment.executors.ray_nodes import Node, Share, alive_nodes, share_of_a_run
from cxrbench.experiment.executors.ray_tasks import packed
from cxrbench.interfaces import Display
from cxrbench.store.image_pass import PreparedImage

RETRIES = 3
"""How often a task is tried again when its node or process is lost."""

_SHARD = 16  # images of a task: some hundred milliseconds of work, a few megabytes of result
_AHEAD = 2  # shards that may wait for one before them in the order, for each that is prepared
_SECONDS = 0.2  # between two looks at what the nodes sent

_LOST = {
    NodeDiedError: "the node died",
    WorkerCrashedError: "its process died",
    ObjectLostError: "its result was lost with a node",
    OutOfMemoryError: "the node's memory ran out",
}
# What shapes a computation from outside has to be the same on every node. Not cxrbench's own: it is
# settled before a task begins, and the key of patients' pseudonyms must not reach a cluster's logs.
_CARRIED = ("KERAS_", "TF_", "XLA_", "JAX_", "TORCH_", "CUBLAS_", "NVIDIA_", "OMP_")


@contextmanager
def open_ray(address: str, needs: Needs, display: Display) -> Iterator[RayExecutor]:
    """Connect to what `find_cluster` found, check every node, and give the executor.

    Ray's tasks end with the context.

    Raises
    ------
    ExecutorError : the cluster cannot be had, or a node cannot do the work.
    DeviceError : no node has the GPUs that a run needs.
    """
    with connected(address):
        nodes = alive_nodes()
        share = share_of_a_run(nodes, needs.device, needs.devices)
        check_nodes(nodes, needs, {"runtime_env": _environment()})
        display.say(_described(address, nodes, share))
        threads = needs.threads or max(1, sum(node.cpus for node in nodes))
        yield RayExecutor(share, threads, display)


@dataclass(eq=False)
class _Call:
    """A task, whichever attempt it is at; ``submit`` takes the id and number of an attempt."""

    label: str
    submit: Callable[[str, int], Any]
    attempt: int = 0
    id: str = ""
    done: bool = False
    result: Any = None


class RayExecutor:
    """Computes on the nodes of the connected cluster; each run takes ``share`` of one."""

    def __init__(self, share: Share, threads: int, display: Display) -> None:
        from ray.util.queue import Queue

        self.threads = threads
        self._share = share
        self._display = display
        here = ray.get_runtime_context().get_node_id()
        # Beside this process, so that it is not lost with another node.
        own = [node for node in alive_nodes() if node.id == here]
        self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": only_on(own[0])})
        self._relay = Relay(self._queue, display)
        self._losses: set[str] = set()

    def in_order(
        self, work: Callable[[int], PreparedImage], rows: Iterable[int], threads: int
    ) -> Generator[PreparedImage, None, None]:
        """As `Executor.in_order`, by shards of rows.

        An image that a node cannot read is read here once more: what is left out has to be
        unreadable, and not out of a node's reach.
        """
        whole = list(rows)
        if not whole:
            return
        shared = ray.put(packed(work))
        _require_same_image(work, shared, whole[0])
        shards = [whole[start : start + _SHARD] for start in range(0, len(whole), _SHARD)]
        calls = (_Call("preparing", _shard(shared, shard)) for shard in shards)
        with closing(self._results(calls, threads, _AHEAD * threads)) as results:
            for shard, images in zip(shards, results, strict=True):
                for row, image in zip(shard, images, strict=True):
                    yield image if image.digest else work(row)

    def compute(
        self, work: Callable[[Item, Place], Result], items: Iterable[tuple[str, Item]]
    ) -> list[Result]:
        """As `Executor.compute`, all items at once as far as the cluster has room."""
        shared = ray.put(packed(work))
        calls = (_Call(label, self._run(label, shared, packed(item))) for label, item in items)
        return list(self._results(calls))

    def _run(self, label: str, work: Any, item: bytes) -> Callable[[str, int], Any]:
        task = ray.remote(ray_tasks.compute).options(
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            runtime_env=_environment(self._share.cpus),
            max_retries=0,
        )
        return lambda call, attempt: task.remote(work, item, self._queue, call, label, attempt)

    def _results(
        self, calls: Iterable[_Call], running: int | None = None, ahead: int | None = None
    ) -> Generator[Any, None, None]:
        """The results in the order of the calls.

        At most ``running`` calls are at work, at most ``ahead`` begun and not given on.
        """
        coming = iter(calls)
        begun: deque[_Call] = deque()
        flying: dict[Any, _Call] = {}
        try:
            while True:
                while _fewer(flying, running) and _fewer(begun, ahead):
                    if (call := next(coming, None)) is None:
                        break
                    begun.append(call)
                    flying[self._begin(call)] = call
                if not begun:
                    return
                if begun[0].done:
                    yield begun.popleft().result
                    continue
                ready, _ = ray.wait(list(flying), timeout=_SECONDS)
                self._relay.drain()
                for ref in ready:
                    self._settle(flying.pop(ref), ref, flying)
        finally:
            for ref, call in flying.items():
                ray.cancel(ref, force=True)
                self._relay.forget(call.id)

    def _begin(self, call: _Call) -> Any:
        call.id = uuid.uuid4().hex
        self._relay.expect(call.id)
        return call.submit(call.id, call.attempt)

    def _settle(self, call: _Call, ref: Any, flying: dict[Any, _Call]) -> None:
        """Take the result of a call, or begin it again where it was lost."""
        try:
            call.result = ray.get(ref)
            call.done = True
        except RayTaskError as error:
            # An error there is reported as it would be here.
            cause = error.cause
            raise cause if isinstance(cause, CxrbenchError) else error from error
        except tuple(_LOST) as error:
            node = self._relay.forget(call.id)
            self._require_another_attempt(call, node, error)
            flying[self._begin(call)] = call
        else:
            self._relay.forget(call.id)

    def _require_another_attempt(self, call: _Call, node: str | None, error: Exception) -> None:
        why = next(text for kind, text in _LOST.items() if isinstance(error, kind))
        what = f"{call.label}: lost" + (f" on {node}" if node else "") + f", {why}"
        call.attempt += 1
        if call.attempt > RETRIES:
            raise ExecutorError(
                f"{what}, {call.attempt} times in a row",
                expected="a node that lives as long as a run",
                found=" ".join(str(error).split())[:300],
                fix="look at the nodes' memory and at Ray's logs there; the same command goes on "
                "from what is complete",
            ) from error
        if not any(self._share.fits(node) for node in alive_nodes()):
            raise ExecutorError(
                f"{what}, and no other node is left for it",
                expected=f"a node with {self._share.cpus} CPUs and {self._share.gpus} GPUs",
                found="; ".join(f"{n.name}: {n.cpus} CPUs, {n.gpus} GPUs" for n in alive_nodes()),
                fix="start the node again; the same command continues from completed work",
            ) from error
        line = f"{what}; it goes on elsewhere (attempt {call.attempt + 1} of {RETRIES + 1})"
        if line not in self._losses:  # shards of images are lost many at a time
            self._losses.add(line)
            self._display.say(line)


def _require_same_image(work: Callable[[int], PreparedImage], shared: Any, row: int) -> None:
    """Raise `ExecutorError` unless every node reads the same bytes for an image as we do."""
    ours = work(row)
    for node in alive_nodes():
        if not node.cpus:  # a head that only coordinates prepares nothing
            continue
        ref = _prepare_task(scheduling_strategy=only_on(node)).remote(shared, [row])
        try:
            (theirs,) = ray.get(ref)
        except RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, CxrbenchError) else error from error
        if theirs.digest != ours.digest:
            raise ExecutorError(
                f"{node.name} does not read the same images as this machine",
                expected="the data at the same path on every node",
                found=theirs.reason or "other bytes at the path of the first image",
                fix="mount the data there as here, or name a shared path with --data",
            )


def _shard(shared: Any, rows: Sequence[int]) -> Callable[[str, int], Any]:
    return lambda call, attempt: _prepare_task().remote(shared, list(rows))


def _prepare_task(**options: Any) -> Any:
    spread = {"scheduling_strategy": "SPREAD", **options}
    return ray.remote(ray_tasks.prepare).options(
        num_cpus=1, max_retries=0, runtime_env=_environment(), **spread
    )


def _environment(cpus: int | None = None) -> dict[str, Any]:
    """Ray's description of the processes; those for runs compute with as many threads as here.

    Ray would give each as many as the first task in it takes CPUs.
    """
    carried = {name: text for name, text in os.environ.items() if name.startswith(_CARRIED)}
    if cpus is not None:
        carried.setdefault("OMP_NUM_THREADS", str(cpus))
    return {"env_vars": carried}


def _fewer(some: Any, limit: int | None) -> bool:
    return limit is None or len(some) < limit


def _described(where: str, nodes: Sequence[Node], share: Share) -> str:
    able = sum(share.fits(node) for node in nodes)
    text = f"ray: {len(nodes)} node{'s' * (len(nodes) != 1)} at {where}; "
    text += f"each run takes {share.cpus} CPU{'s' * (share.cpus != 1)}"
    text += f" and {share.gpus} GPU{'s' * (share.gpus != 1)}" if share.gpus else ""
    return text + (f", which {able} of them have" if able < len(nodes) else "")
