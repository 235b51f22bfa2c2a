"""Scan a tree of files: which are frontal chest radiographs, and why the others are not."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from cxrbench import CxrbenchError, DataError, Display, UnreadableImage
from cxrbench.builtin._dicom.header import INSTALL, load_pydicom
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.radiograph import Radiograph, read_radiograph

_LOOKED_AT = 100

NOT_READ = "cannot be read: "
"""How the reason of a file begins that the system could not read: another time it may."""

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the machine lacks, whatever the file."""


@dataclass
class FileTree:
    """Relative paths of files, sorted, and of what is no readable file with the reason."""

    files: list[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)


def list_files(root: str, leave_out: Collection[str] = ()) -> FileTree:
    """Go through a folder tree; links are followed, and each folder is entered once.

    Hidden files and folders, and the files ``leave_out``, are not listed.

    Raises
    ------
    DataError : ``root`` itself cannot be listed.
    """
    tree, waiting, entered = FileTree(), [""], set[tuple[int, int]]()
    kept_out = {_identity(os.stat(path)) for path in leave_out if os.path.exists(path)}
    while waiting:
        folder = waiting.pop()
        try:
            known = os.stat(os.path.join(root, folder))
            # Links may lead back up, or again and again to one folder.
            if _identity(known) in entered:
                continue
            entered.add(_identity(known))
            waiting += _look_into(root, folder, kept_out, tree)
        except OSError as error:
            if not folder:
                raise _cannot_list(root, error) from error
            tree.unusable.append((folder, f"a folder that cannot be listed: {error.strerror}"))
    tree.files.sort()
    tree.unusable.sort()
    return tree


def has_dicom_among_the_first(folder: str) -> bool:
    """Whether one of the first files at any depth has DICOM's mark; folders count as files."""
    return any(map(_has_mark, islice(_first_entries(folder), _LOOKED_AT)))


def _identity(known: os.stat_result) -> tuple[int, int]:
    return known.st_dev, known.st_ino


def _look_into(
    root: str, folder: str, kept_out: Collection[tuple[int, int]], tree: FileTree
) -> list[str]:
    """Note the files of one folder; the folders in it, last first, so that the first is next."""
    folders, inodes = [], {inode for _, inode in kept_out}
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            place = os.path.join(folder, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(place)
            elif entry.is_file():
                # The number of the file comes with its name; that of the device is a call more.
                candidate = entry.is_symlink() or entry.inode() in inodes
                if not (candidate and _identity(entry.stat()) in kept_out):
                    tree.files.append(place)
            else:
                what = "a link that leads nowhere" if entry.is_symlink() else "not a file"
                tree.unusable.append((place, what))
    return sorted(folders, reverse=True)


def _cannot_list(root: str, error: OSError) -> DataError:
    return DataError(
        f"{root} cannot be listed",
        expected="a folder of DICOM files that this user may read",
        found=error.strerror or str(error),
        fix="check the path and its permissions (chmod u+rx)",
    )


def _first_entries(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(islice(entries, 1000), key=lambda entry: entry.name):
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    yield from _first_entries(entry.path)
    except OSError:  # it is for `load` to say so, should it be this dataset after all
        return


def _has_mark(path: str) -> bool:
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return False
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


_VERSION = 2
"""Raised when the same header would be judged in another way."""

Found = Radiograph | str
"""A radiograph, or why a file is none."""


class Memory:
    """Lines of (file, signature, what was found), appended to as a scan goes on.

    A line that was cut short by a kill, or damaged, is as if it had not been written. ``path`` is
    None where nothing is kept. The first line names the archive, for `cxrbench cache list`; the
    file's time is that of the last use.
    """

    def __init__(self, path: Path | None, archive: str, key: Key, *, accept_unknown: bool) -> None:
        self._path = path
        self._key = key
        self._about = json.dumps({"dataset": "dicom", "data": archive})
        self._judged = f"{_VERSION}{'+' if accept_unknown else ''}"
        self._known: dict[tuple[str, str], Found] = {}
        if path is not None and path.exists():
            lines = path.read_text("utf-8", "replace").splitlines()
            for line in lines:
                self._learn(line)
            if any(map(_is_of_version_1, lines)):
                self._known.clear()
                path.unlink()
                return
            with suppress(
                OSError
            ):  # a cache that belongs to somebody else can be read all the same
                os.utime(path)

    def signature(self, path: str) -> str:
        """What changes when a file does, or the way in which it is judged.

        With the key, since size and time would tell whose file it is. The time of change is the
        system's own: an archive that is unpacked over another cannot set it.
        """
        stat = os.stat(path)
        facts = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        return self._key.pseudonym("signature", f"{self._judged}:{facts}")

    def recall(self, file: str, signature: str) -> Found | None:
        """What was found in this file, None where it is not known."""
        return self._known.get((file, signature))

    def keep(self, looks: Iterable[tuple[str, str, Found]]) -> None:
        """Write what a later scan can use; a decoder that was missing may be there by then."""
        lines = [
            json.dumps([file, signature, what if isinstance(what, str) else vars(what)])
            for file, signature, what in looks
            if signature and not (isinstance(what, str) and INSTALL in what)
        ]
        if self._path is None or not lines:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as out:
                # A line of its own, whatever was cut off before it.
                start = "" if out.tell() else self._about
                out.write("\n".join((start, *lines, "")).encode())
        except OSError as error:
            raise CxrbenchError(
                f"cannot write the cache in {self._path.parent}",
                expected="a folder with room that this user may write to",
                found=error.strerror or str(error),
                fix="make room, or choose another folder with --cache or CXRBENCH_CACHE",
            ) from error

    def _learn(self, line: str) -> None:
        try:
            file, signature, what = json.loads(line)
            known = what if isinstance(what, str) else Radiograph(**what)
            self._known[str(file), str(signature)] = known
        except (ValueError, TypeError):
            return


def _is_of_version_1(line: str) -> bool:
    """Whether sizes and times are in it as they are, beside pseudonyms."""
    return re.match(r'\["[0-9a-f]{20}", "1\+?:[0-9]+:[0-9]+", ', line) is not None


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
    load_pydicom()  # before the threads: see there
    listing = list_files(root, leave_out)
    work = partial(_look, root, key, memory, accept_unknown)
    radiographs, rejected, seen = [], list(listing.unusable), set[str]()
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
                    radiographs.append((path, look.found))
                    seen |= {look.found.image} - {""}
            if advance is not None:
                advance(len(chunk))
    return Scan(tuple(radiographs), tuple(sorted(rejected)))


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
    except (OSError, MemoryError) as error:
        if isinstance(error, MemoryError) or error.errno in _SHORTAGES:
            raise DataError(
                "the headers of the DICOM files cannot be read now",
                expected="memory and file handles that are free",
                found=getattr(error, "strerror", None) or "no memory is left",
                fix="close other programs or raise the limits (ulimit -n 4096), and run the same "
                "command again; what was read is kept",
            ) from error
        why = f"{NOT_READ}{error.strerror or type(error).__name__}"
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
