"""Complete stores: found by their key, checked when opened, read as memory-mapped files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from cxrbench.errors import CacheError
from cxrbench.output.files import append, remove_link, share, write_bytes
from cxrbench.store.cache import NO_PURPOSE, PURPOSE_FILE, Purpose, canonical, key_of, write_purpose
from cxrbench.store.journal import (
    DamagedStore,
    ImageFacts,
    ImageTable,
    Journal,
    journal_before,
    journal_line,
    last_sizes,
    read_journal,
    verify_stretches,
)

FORMAT = 2
"""Part of every key; raised when the same inputs would give other bytes."""


@dataclass(frozen=True, eq=False)
class StoreSpec:
    """Which store: its kind, what shapes it, and the data files that it has.

    ``row_bytes`` is what a row takes on the disk, 0 where that is not known before; ``purpose`` is
    for people.
    """

    kind: str
    about: Mapping[str, Any]
    rows: int
    files: tuple[str, ...]
    row_bytes: int = 0
    purpose: Purpose = NO_PURPOSE

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


def open_store(spec: StoreSpec, cache: Path, *, verify: bool = True) -> CompleteStore | None:
    """The store, or None while it is not complete.

    With ``verify``, its data are compared with their checksums: all of them, or a sample of a large
    store. Leave it out only where this process has just done that, or written the store.

    Raises
    ------
    DamagedStore
        It is marked complete, but its files are not what it was completed with.
    """
    folder = spec.folder(cache)
    text = complete_journal(folder)
    if text is None:
        return None
    journal = read_journal(text, spec.files)
    if len(journal.images) != spec.rows:
        raise DamagedStore("it does not have a row for each image")
    if verify:
        with _reading(folder):
            verify_stretches(folder, journal.stretches)
    return CompleteStore(folder, journal.images, journal.layout)


def complete_journal(folder: Path) -> bytes | None:
    """The journal of a store whose files agree with each other, None while it is not complete.

    Raises
    ------
    DamagedStore
        It is marked complete, but its files are not what it was completed with.
    """
    with _reading(folder):
        try:
            marker = json.loads((folder / "complete.json").read_bytes())
        except FileNotFoundError:
            return None
        text = (folder / "journal.jsonl").read_bytes()
        if marker["journal"] != hashlib.sha256(text).hexdigest():
            raise DamagedStore("its journal was changed after it was completed")
        if key_of(json.loads((folder / "about.json").read_bytes())) != folder.name:
            raise DamagedStore("about.json was changed after it was completed")
        require_sizes(folder, last_sizes(text), exact=True)
    return text


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn what reading a complete store raises into `DamagedStore` or `CacheError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedStore("a file is missing") from error
    except OSError as error:
        raise CacheError(
            f"cannot read the store in {folder}",
            found=error.strerror,
            fix="choose another folder with --cache or CXRBENCH_CACHE",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStore("a file in it was changed") from error


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """The local features of all images, memory-mapped.

    ``counts`` (N,) int64: features per row, 0 for excluded images. ``all_descriptors`` (M, d) and
    ``all_keypoints`` (M, 4), None where there are none, hold those of all rows one after the other.
    """

    folder: Path
    counts: np.ndarray
    all_descriptors: np.ndarray
    all_keypoints: np.ndarray | None

    @property
    def width(self) -> int:
        """The d of the descriptors (n, d), 0 when no image is usable."""
        return int(self.all_descriptors.shape[1])

    def descriptors(self, row: int) -> np.ndarray:
        """Descriptors (n, d) of the image in this row, read-only; n may be 0."""
        return self.all_descriptors[self._rows(row)]

    def keypoints(self, row: int) -> np.ndarray | None:
        """Keypoints (n, 4) float32 (x, y, size, angle), None if the extractor gives none."""
        return None if self.all_keypoints is None else self.all_keypoints[self._rows(row)]

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


def feature_store(store: CompleteStore) -> FeatureStore:
    """Map a complete store of local features."""
    layout, counts = store.layout, store.images.counts
    total, width = int(counts.sum()), layout.get("width", 0)
    dtype = np.dtype(layout.get("dtype", "float32"))
    points = None
    if layout.get("keypoints", False):
        points = map_array(store.folder / "keypoints.bin", (total, 4), np.dtype(np.float32))
    vectors = map_array(store.folder / "descriptors.bin", (total, width), dtype)
    return FeatureStore(store.folder, counts, vectors, points)


def map_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int = 0
) -> np.ndarray:
    """A read-only memory map of a flat file; an ordinary array when there is nothing to map.

    Other processes see that the file is used for as long as the map lives.
    """
    if 0 in shape:
        return np.empty(shape, dtype)
    with path.open("rb") as file:
        share(file)
        return np.memmap(file, dtype, "r", offset, shape).view(np.ndarray)


def about_of(spec: StoreSpec) -> dict[str, Any]:
    """What stands in the store's ``about.json``."""
    about: dict[str, Any] = json.loads(canonical({"kind": spec.kind, **spec.about}))
    return about


def require_sizes(folder: Path, sizes: Mapping[str, int], *, exact: bool) -> None:
    """Raise `DamagedStore` for a file that is shorter, or (``exact``) longer, than its size."""
    for name, size in sizes.items():
        actual = (folder / name).stat().st_size if (folder / name).exists() else -1
        if actual < size or (exact and actual != size):
            raise DamagedStore(f"{name} has {max(actual, 0)} bytes, not {size}")


CHUNK = 128
"""Rows per journal line: at most this many images are prepared again after a kill."""


_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


class StoreWriter:
    """Appends rows to a store; the caller holds the store's lock.

    ``images`` are those that it had when it was opened; ``rows`` is how many it has: the next
    `append` is that row's.
    """

    def __init__(self, spec: StoreSpec, cache: Path) -> None:
        self._spec = spec
        self._folder = spec.folder(cache)
        if self._folder.is_symlink():
            raise DamagedStore("it is a link")
        self._folder.mkdir(parents=True, exist_ok=True)
        journal = self._resume()
        write_purpose(self._folder / PURPOSE_FILE, spec.purpose)
        self.images = journal.images
        self.rows = len(self.images)
        self._layout = dict(journal.layout)
        self._sizes = dict(journal.sizes)
        self._checksums = dict.fromkeys(spec.files, 0)
        self._chunk: list[ImageFacts] = []
        self._files = {
            name: os.open(self._folder / name, _APPEND, 0o666)
            for name in (*spec.files, "journal.jsonl")
        }
        self._cut(journal)

    @property
    def layout(self) -> Mapping[str, Any]:
        """How the rows so far are laid out; empty before the first row with data."""
        return self._layout

    def append(self, facts: ImageFacts, data: Sequence[np.ndarray], layout: dict[str, Any]) -> None:
        """Add one row: one array for each of the store's files, none for an excluded image."""
        for name, array in zip(self._spec.files, data, strict=False):
            content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            append(self._files[name], content)
            self._sizes[name] += array.nbytes
            self._checksums[name] = zlib.crc32(content, self._checksums[name])
        self._layout.update(layout)
        self._chunk.append(facts)
        if len(self._chunk) == CHUNK or self.rows + len(self._chunk) == self._spec.rows:
            self._commit()

    def bytes_left(self) -> int:
        """What the rows to come take on the disk; from the mean so far where rows differ."""
        done = self.rows + len(self._chunk)
        mean = sum(self._sizes.values()) / done if done else 0
        return round((self._spec.rows - done) * (self._spec.row_bytes or mean))

    def finish(self) -> None:
        """Mark the store as complete."""
        text = (self._folder / "journal.jsonl").read_bytes()
        # The journal holds the sizes of the data files, so its checksum vouches for them too.
        marker = {"journal": hashlib.sha256(text).hexdigest()}
        write_bytes(self._folder / "complete.json", canonical(marker).encode(), durable=True)

    def close(self) -> None:
        """Close the files; what was not committed is cut off by the next writer."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _commit(self) -> None:
        for name in self._spec.files:
            os.fsync(self._files[name])
        line = journal_line(self._chunk, self._sizes, self._layout, self._checksums)
        append(self._files["journal.jsonl"], line)
        os.fsync(self._files["journal.jsonl"])
        self.rows += len(self._chunk)
        self._chunk.clear()
        self._checksums = dict.fromkeys(self._checksums, 0)

    def _resume(self) -> Journal:
        """The journal of what is there; `DamagedStore` if the data do not reach that far."""
        about, journal = self._folder / "about.json", self._folder / "journal.jsonl"
        if not about.exists():
            write_bytes(about, canonical(about_of(self._spec)).encode(), durable=True)
        resumed = read_journal(journal.read_bytes() if journal.exists() else b"", self._spec.files)
        if about.read_bytes() != canonical(about_of(self._spec)).encode():
            raise DamagedStore("about.json does not describe it")
        if len(resumed.images) > self._spec.rows:
            raise DamagedStore("it has more rows than there are images")
        if resumed.images:
            require_sizes(self._folder, resumed.sizes, exact=False)
            verify_stretches(self._folder, resumed.stretches)
        return resumed

    def _cut(self, journal: Journal) -> None:
        os.ftruncate(self._files["journal.jsonl"], journal.length)
        for name in self._spec.files:
            os.ftruncate(self._files[name], journal.sizes[name])


def cut_store(spec: StoreSpec, cache: Path, row: int) -> None:
    """Make a complete store one that was interrupted before it got to ``row``.

    The caller holds its lock. The rows before are copied: processes that have it mapped keep what
    they see.
    """
    folder = spec.folder(cache)
    text = journal_before((folder / "journal.jsonl").read_bytes(), row)
    copy = folder.with_name(folder.name + ".tmp")
    remove_link(copy)
    if copy.exists():
        shutil.rmtree(copy)
    copy.mkdir()
    shutil.copy(folder / "about.json", copy)
    for name, size in read_journal(text, spec.files).sizes.items():
        with (folder / name).open("rb") as source, (copy / name).open("wb") as target:
            _copy_bytes(source, target, size)
    write_bytes(copy / "journal.jsonl", text, durable=True)
    remove_store(folder)
    copy.rename(folder)


def _copy_bytes(source: IO[bytes], target: IO[bytes], size: int) -> None:
    while size > 0:
        part = source.read(min(size, 1 << 20))
        target.write(part)
        size -= len(part)
    target.flush()
    os.fsync(target.fileno())


def remove_store(folder: Path) -> None:
    """Remove a store; processes that have it mapped keep what they see."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
