"""A Ray cluster on loopback for tests: a head that coordinates, and two nodes that compute.

The cluster lives in a process of its own, which this file is too: Ray takes its settings from the
environment when it is imported, and the tests may have imported it before.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_ray = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
CPUS = len(os.sched_getaffinity(0))
# A dead node is noticed in a second or two instead of half a minute.
_HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


class Cluster:
    """The cluster as its tests see it; nodes are named by their ids."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._answer()
        self.nodes = [self._answer()]
        self.add(num_cpus=CPUS)
        self.add(num_cpus=CPUS)

    @property
    def workers(self) -> list[str]:
        """The nodes that compute."""
        return self.nodes[1:]

    def add(self, **options: object) -> str:
        """Start one more node, the last of ``nodes``."""
        self.nodes.append(self._ask("add", options))
        return self.nodes[-1]

    def kill(self, node: str) -> None:
        """SIGKILL."""
        self.nodes.remove(node)
        self._ask("kill", node)

    def _ask(self, *question: object) -> str:
        assert self._process.stdin is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # Ray prints there too
            if line.startswith("answer "):
                return line.split()[1]
        raise AssertionError("the process with the cluster has ended")


@contextmanager
def two_nodes(site: Path) -> Iterator[Cluster]:
    """A cluster whose nodes have the plugins in ``site``, and which asks for a token."""
    from conftest import environment, install

    install(site, "tiny-parts", "tiny_parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "a token for tests, thirty-two characters or more")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=environment(site)
        )
        try:
            yield Cluster(process)
        finally:
            process.communicate()  # the end of its input ends it


def main() -> None:
    """Start a head, then do what standard input says, until its end."""
    # Ray's sockets have to have short paths.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        # Ray notes the address in a folder ``ray`` of this one, which it expects to be there.
        os.environ["RAY_TMPDIR"] = folder
        place = Path(folder, "ray")
        place.mkdir()
        from ray.cluster_utils import Cluster as Nodes

        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": str(place)}
        nodes = Nodes(initialize_head=True, head_node_args={**head, "_system_config": _HEALTH})
        try:
            print("answer", nodes.address, flush=True)
            print("answer", nodes.head_node.node_id, flush=True)
            for line in sys.stdin:
                print("answer", _done(nodes, *json.loads(line)), flush=True)
        finally:
            nodes.shutdown()


def _done(nodes, what: str, value) -> str:
    if what == "add":
        return nodes.add_node(**value).node_id
    (node,) = (node for node in nodes.worker_nodes if node.node_id == value)
    nodes.remove_node(node, allow_graceful=False)
    return value


if __name__ == "__main__":
    main()
