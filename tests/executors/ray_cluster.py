"""Two Ray nodes on loopback for tests, with a plugin installed on both."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import environment, install

needs_ray = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
# A dead node is noticed in a second or two instead of half a minute.
_HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
CPUS = len(os.sched_getaffinity(0))


TOKEN = "a token for tests, thirty-two characters or more"


@contextmanager
def two_nodes(site: Path) -> Iterator[Any]:
    """A cluster whose nodes have the plugins in ``site``, and which asks for a token."""
    install(site, "tiny-parts", "tiny_parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment(site)["PYTHONPATH"])
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        # Ray's sockets have to have short paths.
        with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
            head = {"num_cpus": CPUS, "include_dashboard": False, "temp_dir": folder}
            cluster = Cluster(
                initialize_head=True, head_node_args={**head, "_system_config": _HEALTH}
            )
            try:
                cluster.add_node(num_cpus=CPUS)
                yield cluster
            finally:
                cluster.shutdown()
