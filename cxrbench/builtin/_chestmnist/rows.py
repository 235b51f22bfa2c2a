"""One image of an array in a ``.npz`` file, without the others: in place, or out of a stream."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from threading import Lock
from typing import IO, Protocol

import numpy as np

from cxrbench import UnreadableImage
from cxrbench.builtin._chestmnist.archive import DAMAGE, Archive, Member

_BLOCK = 128
_KEPT = 8
"""Blocks of a stream that are kept: 1,024 images, 51 MB of 224x224.

Threads that read images side by side take them nearly in order; so many are enough for 200 threads.
"""


class Rows(Protocol):
    """Images of one array; safe to read from several threads."""

    def read(self, row: int) -> np.ndarray:
        """One image (S, S) uint8; raises `UnreadableImage` or OSError."""


def open_rows(archive: Archive, part: str) -> Rows:
    """The images of a part: `StoredRows` where they are stored, else `DeflatedRows`."""
    member = archive.images[part]
    if member.place is None:
        return DeflatedRows(archive.path, member)
    return StoredRows(archive.path, member, member.place)


class StoredRows:
    """Images that are stored as they are (``np.savez``): each is read in place, in any order.

    Not a memory map: should the file be cut off meanwhile, a map would end the whole process.
    """

    def __init__(self, path: Path, member: Member, place: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._shape = member.shape[1:]
        self._place = place

    def read(self, row: int) -> np.ndarray:
        """As `Rows.read`."""
        size = math.prod(self._shape)
        data = os.pread(self._file.fileno(), size, self._place + row * size)
        if len(data) != size:
            raise UnreadableImage("truncated: the archive ends before this image")
        return np.frombuffer(data, np.uint8).reshape(self._shape)


class DeflatedRows:
    """Images that are deflated (``np.savez_compressed``): inflated once, in their order.

    There is no way into the middle of such a stream. Reading in order, from however many threads,
    costs one pass. A step back of more than about 1,000 images starts again at the first.
    """

    def __init__(self, path: Path, member: Member) -> None:
        self._archive = zipfile.ZipFile(path)
        self._member = member
        self._lock = Lock()
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._blocks: dict[int, bytes] = {}
        self._end: tuple[int, str] | None = None

    def read(self, row: int) -> np.ndarray:
        """As `Rows.read`."""
        block, within = divmod(row, _BLOCK)
        shape = self._member.shape[1:]
        size = math.prod(shape)
        with self._lock:  # one thread inflates, and others may want the same block
            data = self._block(block)
        return np.frombuffer(data, np.uint8, size, within * size).reshape(shape).copy()

    def _block(self, wanted: int) -> bytes:
        while wanted not in self._blocks:
            # What is damaged once is not inflated again for every image behind it.
            if self._end is not None and wanted >= self._end[0]:
                raise UnreadableImage(self._end[1])
            if self._stream is None or wanted < self._next:
                self._start()
            self._inflate()
        return self._blocks[wanted]

    def _start(self) -> None:
        self._stream = self._archive.open(self._member.name)
        self._stream.read(self._member.header)
        self._next = 0
        self._blocks.clear()

    def _inflate(self) -> None:
        """Take the next block off the stream, and forget the oldest one."""
        assert self._stream is not None
        count, size = self._member.shape[0], math.prod(self._member.shape[1:])
        length = min(_BLOCK, count - self._next * _BLOCK) * size
        try:
            data = self._stream.read(length)
            if (self._next + 1) * _BLOCK >= count:
                data += self._stream.read()  # to the end, where zipfile compares the checksum
            if len(data) != length:
                raise EOFError("the array ends early")
        except DAMAGE as error:
            self._end = (self._next, f"damaged: the archive cannot be inflated ({error})")
            self._stream = None
            return
        self._blocks[self._next] = data
        self._blocks.pop(self._next - _KEPT, None)
        self._next += 1
