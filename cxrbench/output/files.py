"""Files: write them in one piece, lock them, check the space on the disk, compute digests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from cxrbench.errors import CxrbenchError
from cxrbench.interfaces import Display
from cxrbench.output.npy import read_array

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# Writing


@contextmanager
def replacing(path: Path, *, durable: bool = False, shared: bool = False) -> Iterator[Path]:
    """Give a temporary path whose file becomes ``path`` at the end of the block.

    A reader sees the old file or the new one, never a part; a block that fails leaves the old one.
    With ``durable`` the new file outlives a power failure. ``shared`` is for files that several
    processes may write at the same time without a lock.
    """
    own = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f"{path.name}{own}.tmp")
    remove_link(partial)
    try:
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file in one piece, as `replacing` does."""
    with replacing(path, durable=durable) as partial:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(partial, flags, 0o666)
        try:
            append(descriptor, content)
        finally:
            os.close(descriptor)


def remove_link(path: Path) -> None:
    """Remove a link at this path, which somebody else may have put there; anything else stays."""
    if path.is_symlink():
        path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one piece."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Write plain values as indented JSON in one piece."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_bytes(path, text.encode(), durable=durable)


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False, durable: bool = False
) -> None:
    """Write an ``.npz`` file in one piece; it is in memory before."""
    content = io.BytesIO()
    save: Any = np.savez_compressed if compressed else np.savez
    save(content, **arrays)
    write_bytes(path, content.getvalue(), durable=durable)


def append(descriptor: int, content: bytes | memoryview) -> None:
    """Write all bytes; a nearly full disk takes a part and reports it only at the next write."""
    view = memoryview(content)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Room on the disk


@dataclass(frozen=True)
class Destination:
    """Something that is written, for messages: ``what`` reads as in ``the cache in``.

    ``error`` is raised where it cannot be written, and ``elsewhere`` says what can be chosen then.
    """

    what: str
    error: type[CxrbenchError]
    elsewhere: str

    @contextmanager
    def writing(self, path: Path, needed: int | Callable[[], int] = 0) -> Iterator[None]:
        """Turn each `OSError` of the block into ``error``.

        ``needed`` is in bytes, or a function for what is only known when the disk is full.
        """
        try:
            yield
        except OSError as error:
            reason = f"{error.strerror or error}" + (
                f": {error.filename}" if error.filename else ""
            )
            if error.errno in _FULL:
                size = needed if isinstance(needed, int) else needed()
                raise self._no_room(path, size, reason) from error
            raise self.error(
                f"cannot write {self.what} {path}", found=reason, fix=self.elsewhere
            ) from error

    def require_room(self, path: Path, needed: int, *, otherwise: str | None = None) -> None:
        """Raise ``error`` unless ``needed`` bytes are free where ``path`` is or will be.

        ``otherwise`` is what needs less, as in ``leave out --keep``.
        """
        if needed > _free(path):
            raise self._no_room(path, needed, otherwise=otherwise)

    def _no_room(
        self, path: Path, needed: int, reason: str | None = None, otherwise: str | None = None
    ) -> CxrbenchError:
        free = f"{size_text(_free(path))} free"
        return self.error(
            f"not enough room for {self.what} {path}",
            expected=f"about {size_text(needed)} free" if needed else None,
            found=f"{reason} ({free})" if reason else free,
            fix=f"make room, or {self.elsewhere}" + (f"; or {otherwise}" if otherwise else ""),
        )


def size_text(size: int) -> str:
    """A size in bytes, kB, MB or GB (powers of ten)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} bytes"


def _free(path: Path) -> int:
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(place).free


# Locks


def lock_of(path: Path) -> Path:
    """The lock file of what is at ``path``, hidden beside it; it is never removed."""
    # Who waits for a lock has its file open: with another file of the name, two would hold it.
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(locks: Sequence[Path], display: Display | None = None) -> Iterator[None]:
    """Hold these lock files; ``display`` says so while another process has one.

    They are taken in one order everywhere, so that two processes never wait for each other.
    """
    from filelock import FileLock, Timeout

    with ExitStack() as held:
        for path in sorted(locks):
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if display is not None:
                    name = path.name.removeprefix(".").removesuffix(".lock")
                    display.say(f"waiting for another process that uses {path.with_name(name)}")
                lock.acquire()
            held.callback(lock.release)
        yield


@contextmanager
def locked_if_free(lock: Path) -> Iterator[bool]:
    """Whether no other process holds this lock file; if so, it is held inside the block."""
    from filelock import FileLock, Timeout

    with ExitStack() as held:
        try:
            held.enter_context(FileLock(lock, timeout=0))
            free = True
        except Timeout:
            free = False
        yield free


def share(file: IO[bytes]) -> None:
    """Show other processes that the file is read, until it and every map of it are closed."""
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


# Reading


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading; `OSError` for what is none: a pipe or a device may never end."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a file", str(path))
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_regular(path: Path, most: int) -> bytes:
    """The content of a file of at most so many bytes; `OSError` for a larger one or no file."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {size_text(most)}", str(path))
    return content


# Digests


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of a file; `OSError` for what is no file, such as a pipe."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_of(value: Any, *arrays: np.ndarray) -> str:
    """SHA-256 of plain values and arrays, the same for the same values in any order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


# Arrays

# What NumPy and zipfile raise for a file that is missing, cut or changed, or no ``.npz``.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)


class DamagedArrays(Exception):
    """Why the arrays of a file cannot be read."""


MOST_ARRAYS = 2**33
"""Bytes that the arrays of a file may unpack to: a small file can hold many zeros."""


def read_arrays(
    path: Path, names: Sequence[str] | None = None, *, most: int = MOST_ARRAYS
) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name, read without pickle: all, or only those of ``names``.

    ``most`` is the largest number of bytes that they may take in memory.

    Raises
    ------
    DamagedArrays : the file cannot be read, is damaged, lacks a name, holds Python objects, or
        more than ``most`` bytes.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as file:
            members = [f"{name}.npy" for name in names] if names is not None else file.namelist()
            size = sum(file.getinfo(member).file_size for member in members)
            if size > most:
                raise ValueError(f"its arrays take {size_text(size)}, more than {size_text(most)}")
            return {m.removesuffix(".npy"): read_array(file, m) for m in members}
    except _DAMAGE as error:
        raise DamagedArrays(" ".join(str(error).split()) or type(error).__name__) from error
