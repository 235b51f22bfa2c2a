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
    root: str, *, leave_out: Collection[str], accept_unknown: bool, display: Display | None
) -> Scan:
    """Read the header of every file below ``root``; memory holds what is kept of them only.

    A second file with the SOP Instance UID of another is a copy of it, and rejected.

    Raises
    ------
    DataError : ``root`` cannot be listed.
    """
    listing = list_files(root, leave_out)
    found, rejected = [], list(listing.unusable)
    work = partial(_read, root, accept_unknown)
    seen: set[str] = set()
    task = display.task("reading headers", len(listing.files)) if display else nullcontext(None)
    with task as advance, _quiet_pydicom(), ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(listing.files), _CHUNK):
            chunk = listing.files[start : start + _CHUNK]
            for path, result in zip(chunk, pool.map(work, chunk), strict=True):
                if isinstance(result, str):
                    rejected.append((path, result))
                elif result.uid and result.uid in seen:
                    rejected.append((path, "a copy of another file (the same SOP Instance UID)"))
                else:
                    seen.add(result.uid)
                    found.append((path, result))
            if advance is not None:
                advance(len(chunk))
    return Scan(tuple(found), tuple(sorted(rejected)))


def _read(root: str, accept_unknown: bool, path: str) -> Radiograph | str:
    try:
        return read_radiograph(os.path.join(root, path), accept_unknown=accept_unknown)
    except UnreadableImage as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or type(error).__name__}"


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
