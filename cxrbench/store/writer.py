"""Build a store in row order, so that it can be killed at any instant and goes on from there.

A store is a folder. ``about.json`` says what shaped it. Rows are appended to the data files; after
each chunk of rows the data are flushed to the disk and one line is added to ``journal.jsonl``,
which also carries what was learnt about each image. ``complete.json`` comes last, in one piece.
What lies behind the last whole journal line is cut off before work goes on, so that the bytes do
not depend on interruptions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from cxrbench.output.files import append, write_bytes
from cxrbench.store.cache import canonical
from cxrbench.store.journal import (
    DamagedStore,
    ImageFacts,
    Journal,
    journal_before,
    journal_line,
    read_journal,
)
from cxrbench.store.purpose import PURPOSE_FILE, write_purpose
from cxrbench.store.stores import StoreSpec, about_of, require_sizes

CHUNK = 128
"""Rows per journal line: at most this many images are prepared again after a kill."""


class StoreWriter:
    """Appends rows to a store; the caller holds the store's lock.

    ``rows`` is how many it already has: the next `append` is that row's.
    """

    def __init__(self, spec: StoreSpec, cache: Path) -> None:
        self._spec = spec
        self._folder = spec.folder(cache)
        self._folder.mkdir(parents=True, exist_ok=True)
        journal = self._resume()
        write_purpose(self._folder / PURPOSE_FILE, spec.purpose)
        self.rows = len(journal.images)
        self._layout = dict(journal.layout)
        self._sizes = dict(journal.sizes)
        self._chunk: list[ImageFacts] = []
        self._files = {
            name: os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
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
            append(self._files[name], np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            self._sizes[name] += array.nbytes
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
        line = journal_line(self._chunk, self._sizes, self._layout)
        append(self._files["journal.jsonl"], line)
        os.fsync(self._files["journal.jsonl"])
        self.rows += len(self._chunk)
        self._chunk.clear()

    def _resume(self) -> Journal:
        """The journal of what is there; `DamagedStore` if the data do not reach that far."""
        about, journal = self._folder / "about.json", self._folder / "journal.jsonl"
        if not about.exists():
            write_bytes(about, canonical(about_of(self._spec)).encode(), durable=True)
        found = read_journal(journal.read_bytes() if journal.exists() else b"", self._spec.files)
        if about.read_bytes() != canonical(about_of(self._spec)).encode():
            raise DamagedStore("about.json does not describe it")
        if len(found.images) > self._spec.rows:
            raise DamagedStore("it has more rows than there are images")
        if found.images:
            require_sizes(self._folder, found.sizes, exact=False)
        return found

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
    shutil.rmtree(folder)
