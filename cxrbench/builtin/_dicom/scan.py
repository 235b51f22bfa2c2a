"""Scan a tree of files: which are frontal chest radiographs, and why the others are not."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from cxrbench import Display, UnreadableImage
from cxrbench.builtin._dicom.files import list_files
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.memory import Found, Memory
from cxrbench.builtin._dicom.radiograph import Radiograph, read_radiograph

# Parsing holds the interpreter's lock; more threads only help where the files are far away.
_THREADS = 4
_CHUNK = 256


@dataclass(frozen=True)
class Scan:
    """Files by relative path, sorted: the radiographs, and the others with the reason."""

    radiographs: tuple[tuple[str, Radiograph], ...]
    rejected: tuple[tuple[str, str], ...]


def scan(
    root: str,
    key: Key,
    memory: Memory,
    *,
    leave_out: Collection[str],
    accept_unknown: bool,
    display: Display | None,
) -> Scan:
    """Read the header of every file below ``root`` that ``memory`` does not know.

    A second file with the SOP Instance UID of another is a copy of it, and rejected.

    Raises
    ------
    DataError : ``root`` cannot be listed.
    """
    listing = list_files(root, leave_out)
    work = partial(_look, root, key, memory, accept_unknown)
    found, rejected, seen = [], list(listing.unusable), set[str]()
    task = display.task("reading headers", len(listing.files)) if display else nullcontext(None)
    with task as advance, _quiet_pydicom(), ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(listing.files), _CHUNK):
            chunk = listing.files[start : start + _CHUNK]
            looks = list(pool.map(work, chunk))
            memory.keep((look.file, look.signature, look.found) for look in looks if look.new)
            for path, look in zip(chunk, looks, strict=True):
                if isinstance(look.found, str):
                    rejected.append((path, look.found))
                elif look.found.image in seen:
                    rejected.append((path, "a copy of another file (the same SOP Instance UID)"))
                else:
                    found.append((path, look.found))
                    seen |= {look.found.image} - {""}
            if advance is not None:
                advance(len(chunk))
    return Scan(tuple(found), tuple(sorted(rejected)))


@dataclass(frozen=True)
class _Look:
    """A file by its pseudonym, and what was found; ``new`` where that was not known."""

    file: str
    signature: str
    found: Found
    new: bool


def _look(root: str, key: Key, memory: Memory, accept_unknown: bool, path: str) -> _Look:
    file, place, signature = key.pseudonym("file", path), os.path.join(root, path), ""
    try:
        signature = memory.signature(place)
        known = memory.recall(file, signature)
        if known is not None:
            return _Look(file, signature, known, new=False)
        radiograph = read_radiograph(place, key, accept_unknown=accept_unknown)
        return _Look(file, signature, radiograph, new=True)
    except UnreadableImage as error:
        return _Look(file, signature, str(error), new=True)
    except OSError as error:
        why = f"cannot be read: {error.strerror or type(error).__name__}"
        return _Look(file, signature, why, new=False)  # by the next time it may be mended


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    """pydicom's warnings quote what is in a header, names too; they must reach no log."""
    logger = logging.getLogger("pydicom")
    propagated, logger.propagate = logger.propagate, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.propagate = propagated
