"""Executors: where images are prepared and runs are computed, this machine or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cxrbench.errors import SettingsError
from cxrbench.experiment.executors.interface import Executor, LocalExecutor, Needs
from cxrbench.interfaces import Display

EXECUTORS = ("local", "ray")


def check_executor(name: str, ray_address: str | None) -> None:
    """Raise `SettingsError` for an executor that there is not, or an address for the wrong one."""
    if name not in EXECUTORS:
        raise SettingsError(
            f"--executor cannot be {name!r}", expected=" or ".join(EXECUTORS), found=repr(name)
        )
    if ray_address is not None and name != "ray":
        raise SettingsError(
            f"--ray-address {ray_address} has no meaning with --executor {name}",
            expected="--executor ray beside it",
            found=f"--executor {name}",
        )


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
