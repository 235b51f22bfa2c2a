"""The nodes of a Ray cluster, and the share of one that a run takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import ray

from cxrbench.errors import DeviceError, ExecutorError


@dataclass(frozen=True)
class Node:
    """A node that is alive; ``cpus`` and ``gpus`` are what Ray gives out on it."""

    id: str
    host: str
    cpus: int
    gpus: int

    @property
    def name(self) -> str:
        """For people: nodes of one machine share its name, but not the start of their id."""
        return node_name(self.host, self.id)


@dataclass(frozen=True)
class Share:
    """What one run takes of a node."""

    cpus: int
    gpus: int

    def fits(self, node: Node) -> bool:
        """Whether the node is large enough."""
        return node.cpus >= self.cpus and node.gpus >= self.gpus


def node_name(host: str, node_id: str) -> str:
    """How a node is called in messages and in ``run.json``."""
    return f"{host} (node {node_id[:8]})"


def alive_nodes() -> tuple[Node, ...]:
    """The nodes that are alive now, sorted by id."""
    nodes = [
        Node(
            id=node["NodeID"],
            host=node["NodeManagerHostname"],
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return tuple(sorted(nodes, key=lambda node: node.id))


def share_of_a_run(
    nodes: Sequence[Node], device: Literal["auto", "cpu", "gpu"], devices: int
) -> Share:
    """What a run takes: so many GPUs and their part of the CPUs; without GPUs a whole node.

    Keras computes on all cores of a machine, so that two runs beside each other on them gain
    nothing. ``auto`` takes GPUs if the cluster has any.

    Raises
    ------
    DeviceError : no node has so many GPUs.
    ExecutorError : no node has CPUs to give out.
    """
    gpus = (
        0 if device == "cpu" or (device == "auto" and not any(n.gpus for n in nodes)) else devices
    )
    able = [node for node in nodes if node.cpus and node.gpus >= gpus]
    if able and gpus:
        return Share(min(max(1, node.cpus * gpus // node.gpus) for node in able), gpus)
    if able:
        return Share(max(node.cpus for node in able), 0)
    resources = "; ".join(f"{n.name}: {n.cpus} CPUs, {n.gpus} GPUs" for n in nodes)
    if gpus:
        raise DeviceError(
            f"--device {device} --devices {devices}: no node of the Ray cluster has them",
            expected=f"a node with a CPU and {gpus} GPU{'s' * (gpus > 1)}",
            found=resources,
            fix="use --device cpu, or start a node with `ray start --address … --num-gpus N`",
        )
    raise ExecutorError(
        "no node of the Ray cluster computes",
        expected="a node with CPUs to give out",
        found=resources,
        fix="start one with `ray start --address …`",
    )
