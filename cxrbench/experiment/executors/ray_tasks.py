"""The functions that Ray calls on its workers, and the values that travel."""

from __future__ import annotations

import io
import pickle
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import cloudpickle

from cxrbench.experiment.executors.interface import Place
from cxrbench.experiment.executors.ray_display import RemoteDisplay
from cxrbench.experiment.executors.ray_nodes import node_name
from cxrbench.store.image_pass import PreparedImage, quiet_single_threaded_libraries
from cxrbench.store.stores import map_array


def packed(value: Any) -> bytes:
    """Pickle a value; of an array that maps a whole file only the path, shape and dtype."""
    buffer = io.BytesIO()
    _Packer(buffer).dump(value)
    return buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """What `packed` was given, its maps opened on this node."""
    return pickle.loads(data)


class _Packer(cloudpickle.CloudPickler):  # type: ignore[misc]
    def reducer_override(self, value: Any) -> Any:
        mapped = value.base if type(value) is np.ndarray else None
        if isinstance(mapped, np.memmap) and mapped.offset == 0 and value.nbytes == mapped.nbytes:
            return map_array, (Path(str(mapped.filename)), value.shape, value.dtype)
        return super().reducer_override(value)


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
