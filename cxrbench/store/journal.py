"""The journal of a store: one line for each chunk of rows that is safely on the disk."""

from __future__ import annotations

import io
import json
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np

from cxrbench.errors import CacheError
from cxrbench.store.cache import canonical


class DamagedStore(CacheError):
    """A store's files do not agree with each other; it has to be built again."""


NOT_READ = "cannot be read: "
"""How the reason of an image begins that the system could not read: another time it may."""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of one image: SHA-256 of its source, its size, and why it is left out.

    ``count`` is the number of its local features, None in a store that holds none.
    """

    digest: str
    height: int = 0
    width: int = 0
    reason: str | None = None
    count: int | None = None


@dataclass(frozen=True, eq=False)
class ImageTable:
    """The facts of all images of a store, as columns: small for a cohort of any size.

    ``digests`` (N,) bytes, ``shapes`` (N, 2) int64, ``counts`` (N,) int64; ``reasons`` has the rows
    that are left out.
    """

    digests: np.ndarray
    shapes: np.ndarray
    counts: np.ndarray
    reasons: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def not_read(self) -> frozenset[int]:
        """The rows whose image the system could not read, whatever is in it."""
        return frozenset(r for r, why in self.reasons.items() if why.startswith(NOT_READ))

    def different_row(self, other: ImageTable) -> int | None:
        """The first row where another store saw something else, counts of features aside."""
        differs = (self.digests != other.digests) | (self.shapes != other.shapes).any(axis=1)
        for row in {*self.reasons, *other.reasons}:
            differs[row] |= self.reasons.get(row) != other.reasons.get(row)
        return int(differs.argmax()) if differs.any() else None


@dataclass(frozen=True)
class Stretch:
    """Bytes of a data file that one line of the journal vouches for."""

    file: str
    start: int
    size: int
    crc32: int


@dataclass(frozen=True, eq=False)
class Journal:
    """The journal's whole lines: rows they cover, bytes they take, sizes of the data files.

    ``stretches`` are empty in a store of an older version, whose data have no checksums.
    """

    images: ImageTable
    length: int
    sizes: Mapping[str, int]
    layout: Mapping[str, Any]
    stretches: tuple[Stretch, ...] = ()


@dataclass(frozen=True, eq=False)
class _Chunk:
    images: ImageTable
    sizes: Mapping[str, int]
    layout: Mapping[str, Any]
    checksums: Mapping[str, int]


def journal_line(
    images: Sequence[ImageFacts],
    sizes: Mapping[str, int],
    layout: Mapping[str, Any],
    checksums: Mapping[str, int],
) -> bytes:
    """One line for a chunk of rows, the sizes of the data files with it, and their layout.

    ``checksums`` are the CRC-32 of the bytes that the chunk adds to each data file.
    """
    rows = [[f.digest, f.height, f.width, f.reason, f.count] for f in images]
    chunk = canonical({"images": rows, "sizes": sizes, "layout": layout, "crc32": checksums})
    return json.dumps({"crc32": zlib.crc32(chunk.encode()), "chunk": chunk}).encode() + b"\n"


def read_journal(text: bytes, files: Sequence[str]) -> Journal:
    """The whole lines of a journal; a last line that is not whole does not count.

    Raises
    ------
    DamagedStore
        A line before the last is not what was written.
    """
    tables: list[ImageTable] = []
    sizes: Mapping[str, int] = dict.fromkeys(files, 0)
    layout: Mapping[str, Any] = {}
    stretches: list[Stretch] = []
    length = 0
    for line in io.BytesIO(text):
        chunk = _journal_chunk(line)
        if chunk is None and length + len(line) == len(text):
            break  # the line that was being written when the process was killed
        if chunk is None:
            raise DamagedStore("a line of its journal is damaged")
        tables.append(chunk.images)
        for name, crc32 in chunk.checksums.items():
            start = sizes.get(name, 0)
            stretches.append(Stretch(name, start, chunk.sizes.get(name, 0) - start, crc32))
        sizes, layout = chunk.sizes, chunk.layout
        length += len(line)
    return Journal(_joined(tables), length, sizes, layout, tuple(stretches))


def journal_before(text: bytes, row: int) -> bytes:
    """The longest beginning of a sound journal that holds no fact about ``row``."""
    length, rows = 0, 0
    for line in io.BytesIO(text):
        chunk = _journal_chunk(line)
        rows += len(chunk.images) if chunk else row + 1
        if rows > row:
            break
        length += len(line)
    return text[:length]


def last_sizes(text: bytes) -> Mapping[str, int]:
    """The sizes of the data files that a complete journal ends with.

    Raises
    ------
    DamagedStore
        Its last line is not what was written.
    """
    chunk = _journal_chunk(text[text.rfind(b"\n", 0, -1) + 1 :])
    if chunk is None:
        raise DamagedStore("a line of its journal is damaged")
    return chunk.sizes


def _table(images: Sequence[ImageFacts]) -> ImageTable:
    return ImageTable(
        digests=np.array([facts.digest.encode() for facts in images], "S64"),
        shapes=np.array([(facts.height, facts.width) for facts in images], np.int64).reshape(-1, 2),
        counts=np.array([facts.count or 0 for facts in images], np.int64),
        reasons={row: facts.reason for row, facts in enumerate(images) if facts.reason is not None},
    )


def _joined(tables: Sequence[ImageTable]) -> ImageTable:
    tables = tables or [_table([])]
    starts = np.cumsum([0, *(len(table) for table in tables)])
    return ImageTable(
        digests=np.concatenate([table.digests for table in tables]),
        shapes=np.concatenate([table.shapes for table in tables]),
        counts=np.concatenate([table.counts for table in tables]),
        reasons={
            int(start) + row: reason
            for start, table in zip(starts, tables, strict=False)
            for row, reason in table.reasons.items()
        },
    )


def _journal_chunk(line: bytes) -> _Chunk | None:
    """What a line says; None where it is not what was written.

    Raises
    ------
    DamagedStore
        Its checksum is right, but it is no line of a journal.
    """
    try:
        values = json.loads(line)
        text = values["chunk"]
        if not line.endswith(b"\n") or values["crc32"] != zlib.crc32(text.encode()):
            return None
        chunk = json.loads(text)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    try:
        images = _table([ImageFacts(*facts) for facts in chunk["images"]])
        sizes = {str(name): int(size) for name, size in chunk["sizes"].items()}
        sums = {str(name): int(crc32) for name, crc32 in chunk.get("crc32", {}).items()}
        return _Chunk(images, sizes, dict(chunk["layout"]), sums)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedStore("a line of its journal is of another kind") from error


SAMPLED_BYTES = 2**28
"""Of a larger store, so many random bytes are compared when it is opened."""


def verify_stretches(
    folder: Path, stretches: Sequence[Stretch], most: int | None = SAMPLED_BYTES
) -> None:
    """Compare data files with their checksums: all bytes, or ``most`` bytes of random stretches.

    Raises
    ------
    DamagedStore
        They are not what was written.
    OSError
        A file cannot be read.
    """
    chosen = list(stretches)
    if most is not None and sum(one.size for one in chosen) > most:
        random.SystemRandom().shuffle(chosen)  # each time others, so that damage is met some day
        ends = accumulate(one.size for one in chosen)
        chosen = [one for one, end in zip(chosen, ends, strict=True) if end <= most] or chosen[:1]
    for name in {one.file for one in chosen}:
        with (folder / name).open("rb") as file:
            for one in sorted((c for c in chosen if c.file == name), key=lambda c: c.start):
                file.seek(one.start)
                if _crc32(file, one.size) != one.crc32:
                    end = one.start + one.size
                    raise DamagedStore(f"bytes {one.start} to {end} of {name} were changed")


def _crc32(file: IO[bytes], size: int) -> int:
    crc32 = 0
    while size > 0 and (part := file.read(min(size, 2**20))):
        crc32 = zlib.crc32(part, crc32)
        size -= len(part)
    return crc32
