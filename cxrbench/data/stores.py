"""Complete stores: found by what shaped them, checked on opening, read by memory map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.cache import canonical, key_of
from cxrbench.data.journal import DamagedStore, ImageTable, read_journal
from cxrbench.errors import CacheError

FORMAT = 1
"""Part of every key; raised when the same inputs would give other bytes."""


@dataclass(frozen=True, eq=False)
class StoreSpec:
    """Which store: its kind, what shapes it, and the data files that it has.

    ``row_bytes`` is what a row takes on the disk, 0 where that is not known before.
    """

    kind: str
    about: Mapping[str, Any]
    rows: int
    files: tuple[str, ...]
    row_bytes: int = 0

    def folder(self, cache: Path) -> Path:
        """Where the store is in this cache."""
        return cache / self.kind / key_of({"kind": self.kind, **self.about})


@dataclass(frozen=True, eq=False)
class CompleteStore:
    """A complete store: the facts of each image in row order, and where its data are.

    ``layout`` tells how to read the data files: width, dtype, whether there are keypoints.
    """

    folder: Path
    images: ImageTable
    layout: Mapping[str, Any]


def open_store(spec: StoreSpec, cache: Path) -> CompleteStore | None:
    """The store, or None while it is not complete.

    Raises
    ------
    DamagedStore
        It is marked complete, but its files are not what it was completed with.
    """
    folder = spec.folder(cache)
    try:
        marker = json.loads((folder / "complete.json").read_bytes())
        text = (folder / "journal.jsonl").read_bytes()
        if marker["journal"] != hashlib.sha256(text).hexdigest():
            raise DamagedStore("its journal is not the one it was completed with")
        if json.loads((folder / "about.json").read_bytes()) != about_of(spec):
            raise DamagedStore("about.json is not the one it was completed with")
        journal = read_journal(text, spec.files)
        require_sizes(folder, journal.sizes, exact=True)
    except FileNotFoundError as error:
        if error.filename == str(folder / "complete.json"):
            return None
        raise DamagedStore("a file is missing") from error
    except OSError as error:
        raise CacheError(
            f"cannot read the store in {folder}",
            found=error.strerror,
            fix="choose another folder with --cache or CXRBENCH_CACHE",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStore("a file in it is not what was written") from error
    if len(journal.images) != spec.rows:
        raise DamagedStore("it does not have a row for each image")
    return CompleteStore(folder, journal.images, journal.layout)


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """The local features of all images, memory-mapped.

    ``counts`` (N,) int64: features per row, 0 for excluded images. ``width`` is the d of the
    descriptors (n, d), 0 when no image is usable.
    """

    folder: Path
    counts: np.ndarray
    width: int
    dtype: np.dtype[Any]
    has_keypoints: bool

    def descriptors(self, row: int) -> np.ndarray:
        """Descriptors (n, d) of the image in this row, read-only; n may be 0."""
        return self._descriptors[self._rows(row)]

    def keypoints(self, row: int) -> np.ndarray | None:
        """Keypoints (n, 4) float32 (x, y, size, angle), None if the extractor gives none."""
        return self._keypoints[self._rows(row)] if self.has_keypoints else None

    def __len__(self) -> int:
        return len(self.counts)

    def _rows(self, row: int) -> slice:
        # Not left to slicing: a row that is not there would look like an image without keypoints.
        if not 0 <= row < len(self.counts):
            raise IndexError(f"row {row} of {len(self.counts)}")
        return slice(int(self._offsets[row]), int(self._offsets[row + 1]))

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def _descriptors(self) -> np.ndarray:
        shape = (int(self._offsets[-1]), self.width)
        return map_array(self.folder / "descriptors.bin", shape, self.dtype)

    @cached_property
    def _keypoints(self) -> np.ndarray:
        shape = (int(self._offsets[-1]), 4)
        return map_array(self.folder / "keypoints.bin", shape, np.dtype(np.float32))


def feature_store(store: CompleteStore) -> FeatureStore:
    """Read a complete store of local features."""
    layout = store.layout
    return FeatureStore(
        folder=store.folder,
        counts=store.images.counts,
        width=layout.get("width", 0),
        dtype=np.dtype(layout.get("dtype", "float32")),
        has_keypoints=layout.get("keypoints", False),
    )


def map_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """A read-only memory map of a flat file; an ordinary array when there is nothing to map."""
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", shape=shape).view(np.ndarray)


def about_of(spec: StoreSpec) -> dict[str, Any]:
    """What stands in the store's ``about.json``."""
    about: dict[str, Any] = json.loads(canonical({"kind": spec.kind, **spec.about}))
    return about


def require_sizes(folder: Path, sizes: Mapping[str, int], *, exact: bool) -> None:
    """Raise `DamagedStore` for a file that is shorter, or (``exact``) longer, than its size."""
    for name, size in sizes.items():
        found = (folder / name).stat().st_size if (folder / name).exists() else -1
        if found < size or (exact and found != size):
            raise DamagedStore(f"{name} has {max(found, 0)} bytes, not {size}")
