"""MedMNIST's ``.npz`` files, read without unpacking them."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Protocol

import numpy as np

from cxrbench import DataError, UnreadableImage

PARTS = ("train", "val", "test")
KINDS = ("images", "labels")

MAX_LABEL_BYTES = 64 * 2**20
"""Labels are read whole; ChestMNIST's training labels have 1.1 MB."""

DAMAGE = (OSError, EOFError, ValueError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)
"""What zipfile raises for archives that are cut off, damaged, encrypted or made to harm."""

_LOCAL_HEADER = 30  # bytes before name and extra field; APPNOTE.TXT 6.3.10, section 4.3.7
_SIDES = (16, 4096)


@dataclass(frozen=True)
class Member:
    """One array of the archive.

    ``header`` is how many bytes come before its data in the ``.npy`` file. ``place`` is where the
    data are in the archive itself; None where they are deflated.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    header: int
    place: int | None


@dataclass(frozen=True)
class Archive:
    """The arrays of one file, by part; images (N, S, S) uint8 and labels (N, L)."""

    path: Path
    images: dict[str, Member]
    labels: dict[str, Member]


def open_archive(path: Path, labels: int) -> Archive:
    """Look at the file's directory and at the arrays' headers.

    Raises
    ------
    DataError : it cannot be read, or is anything else than six arrays that fit each other.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = _infos(archive, path)
            size = path.stat().st_size
            members = {name: _member(archive, info, path, size) for name, info in infos.items()}
    except DAMAGE as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a .npz file as MedMNIST publishes it",
            found=f"{type(error).__name__}: {error}",
            fix="check its permissions (chmod u+r), or download it again if it is damaged",
        ) from error
    opened = Archive(path, *({p: members[f"{p}_{kind}.npy"] for p in PARTS} for kind in KINDS))
    _check_shapes(opened, labels)
    return opened


def read_labels(archive: Archive, part: str) -> np.ndarray:
    """A part's labels (N, L) float32, 1 and 0.

    Raises
    ------
    DataError : they cannot be read whole, or hold something else.
    """
    member = archive.labels[part]
    count = math.prod(member.shape)
    try:
        with zipfile.ZipFile(archive.path) as file, file.open(member.name) as stream:
            stream.read(member.header)
            data = stream.read(count * member.dtype.itemsize)
            stream.read()  # to the end, where zipfile compares the checksum
        values = np.frombuffer(data, member.dtype).reshape(member.shape)
    except DAMAGE as error:
        raise _refused(archive.path, member.name, "an array that is whole", str(error)) from error
    odd = (values != 0) & (values != 1)
    if odd.any():
        values_text = (
            f"{values[odd][0]} and {odd.sum() - 1:,} more" if odd.sum() > 1 else values[odd][0]
        )
        raise _refused(archive.path, member.name, "1 (present) and 0 (absent)", str(values_text))
    return values.astype(np.float32)


def _infos(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    members = [f"{part}_{kind}.npy" for part in PARTS for kind in KINDS]
    names = [info.filename for info in archive.infolist()]
    if sorted(names) != sorted(members):
        odd = [name for name in names if name not in members]
        missing = [name for name in members if name not in names]
        others = f"{len(odd)} others, such as {odd[0]!r:.200}" if odd else ", ".join(names[:12])
        raise DataError(
            f"{path} does not contain exactly MedMNIST's six arrays",
            expected=", ".join(members),
            found=others if not missing else f"{others or 'nothing'}; without {', '.join(missing)}",
            fix="use the file as MedMNIST publishes it",
        )
    return {info.filename: info for info in archive.infolist()}


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, size: int) -> Member:
    name = info.filename
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(path, name, "an array that is stored or deflated", "another compression")
    with archive.open(info) as stream:  # compares the local header's name with the directory's
        shape, dtype, header = _npy_header(stream, path, name)
    declared = header + math.prod(shape) * dtype.itemsize
    if declared != info.file_size:
        raise _refused(
            path, name, f"{declared:,} bytes, as its header says", f"{info.file_size:,} bytes"
        )
    stored = info.compress_type == zipfile.ZIP_STORED
    start = _data_start(path, info)
    if start + info.compress_size > size or (stored and info.compress_size != info.file_size):
        packed = f"{info.compress_size:,} bytes packed, {info.file_size:,} unpacked"
        raise _refused(path, name, "sizes that fit the file", packed)
    return Member(name, shape, dtype, header, start + header if stored else None)


def _npy_header(stream: IO[bytes], path: Path, name: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and length of the header of a ``.npy`` file."""
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = readers[version](stream)
    except Exception as error:  # numpy evaluates the header's text, which may be anything
        reason = f"{type(error).__name__}: {error}"
        raise _refused(path, name, "an array in NumPy's format, version 1 or 2", reason) from error
    if dtype.hasobject:
        raise _refused(path, name, "numbers", "pickled objects, which are never read")
    if fortran or not all(side > 0 for side in shape):
        order = "Fortran order" if fortran else "C order"
        raise _refused(path, name, "an array in C order with no empty side", f"{shape}, {order}")
    return shape, dtype, stream.tell()


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack_from("<HH", file.read(_LOCAL_HEADER), 26)
    return info.header_offset + _LOCAL_HEADER + name + extra


def _check_shapes(archive: Archive, labels: int) -> None:
    side = archive.images["train"].shape[1:2]
    low, high = _SIDES
    for part in PARTS:
        images, truth = archive.images[part], archive.labels[part]
        square = images.shape[1:] == side * 2 and low <= side[0] <= high
        if images.dtype != np.uint8 or not square:
            raise _refused(
                archive.path,
                images.name,
                f"grey images (N, S, S) uint8, one S from {low} to {high} in all parts",
                f"{images.shape} {images.dtype}",
            )
        rows = images.shape[0]
        if truth.shape != (rows, labels) or truth.dtype.kind not in "bui":
            raise _refused(
                archive.path,
                truth.name,
                f"whole numbers ({rows}, {labels}): a row for each image, a column for each label",
                f"{truth.shape} {truth.dtype}",
            )
        if math.prod(truth.shape) * truth.dtype.itemsize > MAX_LABEL_BYTES:
            limit = f"at most {MAX_LABEL_BYTES // 2**20} MiB"
            raise _refused(archive.path, truth.name, limit, f"{truth.shape} {truth.dtype}")


def _refused(path: Path, name: str, expected: str, actual: str) -> DataError:
    return DataError(
        f"{name} in {path} cannot be used",
        expected=expected,
        found=actual[:300],
        fix="download the file again, as MedMNIST publishes it",
    )


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

    def _block(self, number: int) -> bytes:
        while number not in self._blocks:
            # What is damaged once is not inflated again for every image behind it.
            if self._end is not None and number >= self._end[0]:
                raise UnreadableImage(self._end[1])
            if self._stream is None or number < self._next:
                self._start()
            self._inflate()
        return self._blocks[number]

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
