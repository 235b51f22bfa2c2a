"""The journal of a store: one line for each chunk of rows that is safely on the disk."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrbench.data.cache import canonical
from cxrbench.errors import CacheError


class DamagedStore(CacheError):
    """A store's files do not agree with each other; it has to be built again."""


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


@dataclass(frozen=True)
class Journal:
    """The journal's whole lines: rows they cover, bytes they take, sizes of the data files."""

    images: tuple[ImageFacts, ...]
    length: int
    sizes: Mapping[str, int]
    layout: Mapping[str, Any]


def journal_line(
    images: Sequence[ImageFacts], sizes: Mapping[str, int], layout: Mapping[str, Any]
) -> bytes:
    """One line for a chunk of rows, the sizes of the data files with it, and their layout."""
    rows = [[f.digest, f.height, f.width, f.reason, f.count] for f in images]
    chunk = canonical({"images": rows, "sizes": sizes, "layout": layout})
    return json.dumps({"crc32": zlib.crc32(chunk.encode()), "chunk": chunk}).encode() + b"\n"


def read_journal(text: bytes, files: Sequence[str]) -> Journal:
    """The whole lines of a journal; a last line that is not whole does not count.

    Raises
    ------
    DamagedStore
        A line before the last is not what was written.
    """
    images: list[ImageFacts] = []
    sizes, layout, length = dict.fromkeys(files, 0), dict[str, Any](), 0
    for line in text.splitlines(keepends=True):
        chunk = _journal_chunk(line)
        if chunk is None and length + len(line) == len(text):
            break  # the line that was being written when the process was killed
        if chunk is None:
            raise DamagedStore("a line of its journal is damaged")
        images += (ImageFacts(*values) for values in chunk["images"])
        sizes, layout = chunk["sizes"], chunk["layout"]
        length += len(line)
    return Journal(tuple(images), length, sizes, layout)


def _journal_chunk(line: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
        chunk = told["chunk"]
        if not line.endswith(b"\n") or told["crc32"] != zlib.crc32(chunk.encode()):
            return None
        found: dict[str, Any] = json.loads(chunk)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found
