"""Read arrays of ``.npz`` files that may come from anybody."""

from __future__ import annotations

import io
import math
import zipfile
from functools import lru_cache
from typing import IO, Any

import numpy as np

_LONGEST_HEADER = 10_000
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _header_of(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    start = stream.read(12)
    length = start[8:10] if start[6:7] == b"\x01" else start[8:12]
    left = int.from_bytes(length, "little") - (12 - 8 - len(length))
    if not 0 <= left <= _LONGEST_HEADER:
        raise ValueError(f"its header has {left} bytes")
    return _parsed(start + stream.read(left))


@lru_cache(maxsize=64)
def _parsed(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What a header says: that of many files is the same, and NumPy parses it as Python."""
    stream = io.BytesIO(header)
    return _HEADERS[np.lib.format.read_magic(stream)](stream)


def read_array(file: zipfile.ZipFile, member: str) -> np.ndarray:
    """The array in a member of an ``.npz`` file, read without pickle.

    NumPy itself allocates whatever a header says; here it has to fit the size of the member.

    Raises
    ------
    ValueError : it is no array, holds Python objects, or does not have the size that it says.
    """
    with file.open(member) as stream:
        shape, fortran, dtype = _header_of(stream)
        if dtype.hasobject:
            raise ValueError(f"{member} holds Python objects, a pickle")
        # Without a number, zipfile allocates what the archive says that the packed bytes take.
        content = stream.read(file.getinfo(member).file_size + 1)
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{member} does not have the size of its shape {shape}")
    flat = np.frombuffer(bytearray(content), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
