"""The files that a download folder already has, compared with its ``download.json``."""

from __future__ import annotations

import gzip
import json
import os
import platform
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cxrbench.errors import DownloadError
from cxrbench.output.files import file_digest, write_json

if TYPE_CHECKING:
    from cxrbench.data.download.catalog import RemoteFile
    from cxrbench.interfaces import Display


MAX_FILE = 64 * 2**20
"""Bytes of one unpacked file; NIH's largest image has 2 MB."""

_MARGIN = 4


@dataclass(frozen=True)
class Content:
    """How many files a folder has at any depth, and their bytes together."""

    files: int
    bytes: int


def unpack(archive: Path, folder: Path, *, files: int, display: Display) -> Content:
    """Unpack to ``folder`` anew; renamed afterwards, what has the final name is whole.

    Raises
    ------
    DownloadError : the archive is damaged, holds anything but plain files and folders below itself,
        the same file twice, another number of files, or far more bytes than its own.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DownloadError(
            f"{archive} cannot be unpacked safely by this Python",
            expected="Python 3.11.4 or newer, whose tarfile refuses paths outside the folder",
            found=platform.python_version(),
            fix="use a newer Python; downloaded files are kept",
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    limit = _MARGIN * archive.stat().st_size + MAX_FILE
    try:
        with (
            tarfile.open(archive, "r|gz") as tar,
            display.task(f"unpacking {archive.name}", files) as advance,
        ):
            for member in _checked(tar, archive, folder, files, limit):
                tar.extract(member, folder, filter="data")
                advance(1 if member.isreg() else 0)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unusable(archive, f"{type(error).__name__}: {error}") from error
    content = measure(folder)
    if content.files != files:
        raise _unusable(archive, f"{content.files:,} files instead of {files:,}")
    return content


def measure(folder: Path) -> Content:
    """Count the files below a folder, links not followed."""
    count = size = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner = measure(Path(entry.path))
                count, size = count + inner.files, size + inner.bytes
            else:
                count, size = count + 1, size + entry.stat(follow_symlinks=False).st_size
    return Content(count, size)


def _checked(
    tar: tarfile.TarFile, archive: Path, folder: Path, files: int, limit: int
) -> Iterator[tarfile.TarInfo]:
    seen: set[PurePosixPath] = set()
    total = 0
    for member in tar:
        name = PurePosixPath(member.name)
        total += member.size
        if not (member.isreg() or member.isdir()):
            raise _unusable(archive, f"{member.name!r}, which is a link or a device")
        if name.is_absolute() or ".." in name.parts:
            raise _unusable(archive, f"{member.name!r}, which leads out of its folder")
        if member.isreg() and name in seen:
            raise _unusable(archive, f"{member.name!r} twice")
        if len(seen) > 2 * files + 100 or member.size > MAX_FILE or total > limit:
            raise _unusable(
                archive, f"far more than images ({len(seen):,} entries, {total:,} bytes)"
            )
        seen.add(name)
        tarfile.data_filter(member, str(folder))  # a second opinion before anything is written
        yield member


def _unusable(archive: Path, content: str) -> DownloadError:
    return DownloadError(
        f"{archive} cannot be unpacked",
        expected="a .tar.gz of images in folders, each of them once",
        found=content,
        fix="delete that file and run the same command again",
    )


RECORD = "download.json"


@dataclass(frozen=True)
class Fetched:
    """One file that was fetched: whence, its SHA-256, and how it was left in the folder.

    ``changed_ns`` is the time of change of a file that is used as it is; ``unpacked`` is what an
    archive left. The other of the two is None.
    """

    url: str
    sha256: str
    size: int
    changed_ns: int | None = None
    unpacked: Content | None = None


Record = Mapping[str, Fetched]
"""By the names of the files."""


def read_record(folder: Path) -> Record:
    """What was fetched to this folder; empty where nothing was.

    Raises
    ------
    DownloadError : the record is damaged.
    """
    path = folder / RECORD
    try:
        files = json.loads(path.read_bytes())["files"]
        return {name: _fetched(values) for name, values in files.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadError(
            f"{path} is damaged",
            expected="a file written by `cxrbench data download`",
            found=f"{type(error).__name__}: {error}",
            fix="delete that file and run the same command again, which verifies all files",
        ) from error


def add_to_record(folder: Path, name: str, fetched: Fetched) -> None:
    """Write the record with one file more."""
    record = {**read_record(folder), name: fetched}
    values = {"files": {name: asdict(value) for name, value in sorted(record.items())}}
    write_json(folder / RECORD, values, durable=True)


def is_there(file: RemoteFile, folder: Path, record: Record) -> bool:
    """Whether the file is in the folder as it should be, unpacked if it is an archive.

    A file that was not touched since it was fetched is not read again; nor are unpacked images,
    which are counted and their bytes added up.

    Raises
    ------
    DownloadError : something else is in its place. Nothing of a user's is ever replaced.
    """
    path = folder / (file.folder or file.name)
    if not path.exists():
        return False
    known = record.get(file.name)
    if file.images is not None:
        _compare_folder(path, file.images, known)
    else:
        _compare_file(path, file, known)
    return True


def _compare_folder(path: Path, images: int, known: Fetched | None) -> None:
    content = measure(path) if path.is_dir() else Content(0, path.stat().st_size)
    expected = known.unpacked if known and known.unpacked else Content(images, content.bytes)
    if content != expected:
        raise DownloadError(
            f"{path} differs from the downloaded files",
            expected=f"{expected.files:,} files" + f", {expected.bytes:,} bytes" * bool(known),
            found=f"{content.files:,} files, {content.bytes:,} bytes",
            fix="move or delete it and run the same command again, or choose another --into",
        )


def _compare_file(path: Path, file: RemoteFile, known: Fetched | None) -> None:
    stat = path.stat()
    if known and (stat.st_size, stat.st_mtime_ns) == (known.size, known.changed_ns):
        return
    algorithm, _, expected = file.checksum.partition(":")
    checksum = file_digest(path, algorithm) if path.is_file() else "a folder"
    if checksum != expected:
        raise DownloadError(
            f"{path} is not the published file",
            expected=file.checksum,
            found=f"{stat.st_size:,} bytes, {algorithm}:{checksum}",
            fix="move or delete it and run the same command again, or choose another --into",
        )


def _fetched(values: dict[str, Any]) -> Fetched:
    unpacked = values.pop("unpacked")
    return Fetched(**values, unpacked=None if unpacked is None else Content(**unpacked))
