"""What every store in the cache folder needs: keys, locks, whole writes, errors in plain words."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cxrbench.errors import CacheError

if TYPE_CHECKING:
    from cxrbench.interfaces import Display

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder(given: str | Path | None) -> Path:
    """``given``, else ``CXRBENCH_CACHE``, else the user's cache folder."""
    from platformdirs import user_cache_dir

    chosen = given or os.environ.get("CXRBENCH_CACHE") or user_cache_dir("cxrbench")
    return Path(chosen).expanduser()


def canonical(value: object) -> str:
    """JSON text that is the same for the same value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def key_of(about: Mapping[str, Any]) -> str:
    """The name of the folder for what ``about`` describes: 32 hex digits of its SHA-256."""
    return hashlib.sha256(canonical(about).encode()).hexdigest()[:32]


def identity_of(part: Any) -> dict[str, Any]:
    """What the results of a part depend on: its class, its module's code, its parameters."""
    kind = type(part)
    code = getattr(sys.modules[kind.__module__], "__file__", None)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        # So that an author who edits a part does not get yesterday's results.
        "code": hashlib.sha256(Path(code).read_bytes()).hexdigest() if code else None,
        "parameters": asdict(part),
    }


def append(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``; a nearly full disk takes part of it and says so only next time."""
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there with all of ``data``, or not at all."""
    partial = path.with_name(path.name + ".tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        append(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(partial, path)
    _sync_folder(path.parent)


@contextmanager
def locked(folders: Sequence[Path], display: Display) -> Iterator[None]:
    """Hold the lock of each folder; say so while another process has one.

    The locks are taken in one order everywhere, so that two processes never wait for each other.
    """
    with ExitStack() as held:
        for folder in sorted(folders):
            _hold(folder, held, display)
        yield


def share(file: IO[bytes]) -> None:
    """Tell other processes that the file is read, until it and every map of it are closed."""
    # A map keeps a duplicate of the descriptor, and with it the lock. Not every network file
    # system has locks; what is mapped stays readable when its name is removed.
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)


def is_free(path: Path) -> bool:
    """Whether no process has locked this file, nor reads it; True where there is no such file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


@contextmanager
def writing(folder: Path, needed: int | Callable[[], int]) -> Iterator[None]:
    """Turn failures to write into a `CacheError` that says how much is needed and where.

    ``needed`` in bytes, or a function for what is only known when the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _no_room(folder, needed if isinstance(needed, int) else needed()) from error
        raise CacheError(
            f"cannot write to the cache in {folder}",
            found=error.strerror or str(error),
            fix="choose another folder with --cache or CXRBENCH_CACHE",
        ) from error


def require_room(folder: Path, needed: int, *, otherwise: str | None = None) -> None:
    """Raise `CacheError` unless ``needed`` bytes are free where ``folder`` is or will be.

    ``otherwise`` is what else could be done than to make room.
    """
    if needed > shutil.disk_usage(_existing(folder)).free:
        raise _no_room(folder, needed, otherwise)


def _no_room(folder: Path, needed: int, otherwise: str | None = None) -> CacheError:
    free = shutil.disk_usage(_existing(folder)).free
    return CacheError(
        f"not enough room for the cache in {folder}",
        expected=f"about {_megabytes(needed)} free" if needed else None,
        found=f"{_megabytes(free)} free",
        fix="make room, or choose another folder with --cache; all of the cache can be made again"
        + (f"; or use {otherwise}" if otherwise else ""),
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def _hold(folder: Path, held: ExitStack, display: Display) -> None:
    from filelock import FileLock, Timeout

    lock = FileLock(lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        display.say(f"waiting for another process that prepares {folder}")
        lock.acquire()
    held.callback(lock.release)


def lock_of(path: Path) -> Path:
    """The file that stands for the lock of what is at ``path``; it is never removed."""
    # Who waits for a lock has its file open: with another file of the name, two would hold it.
    return path.with_name(path.name + ".lock")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
