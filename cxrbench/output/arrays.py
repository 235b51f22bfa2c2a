"""Plain arrays in an ``.npz`` file, read without pickle; every kind of damage is one error."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# What NumPy and zipfile raise for a file that is missing, cut or changed, or no ``.npz``.
_WAYS = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class DamagedArrays(Exception):
    """Why the arrays of a file cannot be had."""


def read_arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name: all of them, or those that are named and no others.

    Raises
    ------
    DamagedArrays : the file cannot be read, is damaged, lacks a name, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in (file.files if names is None else names)}
    except _WAYS as error:
        raise DamagedArrays(" ".join(str(error).split()) or type(error).__name__) from error
