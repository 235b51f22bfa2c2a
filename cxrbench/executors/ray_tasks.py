"""What Ray calls on the nodes of a cluster."""

from __future__ import annotations

import platform
from functools import lru_cache
from typing import Any

import ray

from cxrbench.data.image_pass import PreparedImage, quiet_single_threaded_libraries
from cxrbench.executors.interface import Place
from cxrbench.executors.ray_display import RemoteDisplay
from cxrbench.executors.ray_nodes import node_name
from cxrbench.executors.ray_values import unpacked


def compute(work: bytes, item: bytes, queue: Any, call: str, label: str, attempt: int) -> Any:
    """Do a piece of work on an item; it reports to the queue."""
    here = node_name(platform.node(), ray.get_runtime_context().get_node_id())
    display = RemoteDisplay(queue, call, label)
    display.began(here)
    return unpacked(work)(unpacked(item), Place("ray", here, display, attempt))


def prepare(work: bytes, rows: list[int]) -> list[PreparedImage]:
    """Prepare the images of these rows."""
    prepare_row = _unpacked_once(work)
    with quiet_single_threaded_libraries():
        return [prepare_row(row) for row in rows]


# Every shard of a cohort comes with the whole of its table, which is the same for all of them.
_unpacked_once = lru_cache(maxsize=1)(unpacked)
