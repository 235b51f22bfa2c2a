"""Unpack a ``.tar.gz`` of images whole or not at all; nothing lands outside its folder."""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cxrbench.errors import DownloadError

if TYPE_CHECKING:
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
            expected="Python 3.11.4 or newer, whose tarfile refuses what leads out of a folder",
            found=platform.python_version(),
            fix="use a newer Python; what is fetched is kept",
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


def _unusable(archive: Path, found: str) -> DownloadError:
    return DownloadError(
        f"{archive} cannot be unpacked",
        expected="a .tar.gz of images in folders, none of them twice",
        found=found,
        fix="delete that file and run the same command again",
    )
