"""Executors: where images are prepared and runs are computed, this machine or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cxrbench.experiment.executors.interface import Executor, LocalExecutor, Needs
from cxrbench.interfaces import Display


@contextmanager
def open_executor(
    name: str, ray_address: str | None, needs: Needs, display: Display
) -> Iterator[Executor]:
    """The executor of this name, for as long as the context lasts.

    Raises
    ------
    ExecutorError : Ray or its cluster cannot be had, or a node cannot do the work.
    DeviceError : no node has the GPUs that a run needs.
    """
    if name == "local":
        yield LocalExecutor(display, needs.threads)
        return
    from cxrbench.experiment.executors.ray_connect import find_cluster

    address = find_cluster(ray_address)
    from cxrbench.experiment.executors.ray_executor import open_ray  # imports Ray: not before

    with open_ray(address, needs, display) as executor:
        yield executor
