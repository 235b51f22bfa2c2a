"""Values on their way to other nodes: memory maps travel by path, everything else by content."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from ray import cloudpickle

from cxrbench.data.stores import map_array


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
