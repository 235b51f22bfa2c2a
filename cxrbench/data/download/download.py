"""Fetch a cohort into a folder that ``--data`` recognises; the same call again verifies it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.data.download.catalog import PublishedCohort, RemoteFile
from cxrbench.data.download.state import Fetched, add_to_record, is_there, read_record, unpack
from cxrbench.data.download.transfer import DOWNLOAD, RemotePart, discard, transfer
from cxrbench.errors import DownloadError
from cxrbench.output.files import file_digest, lock_of, locked

if TYPE_CHECKING:
    from cxrbench.data.download.catalog import RemoteFile
    from cxrbench.interfaces import Display


def fetch(
    file: RemoteFile, url: str, folder: Path, *, display: Display, pause: Callable[[float], None]
) -> Path:
    """The file in ``folder``: fetched from ``url``, or the one that is there if it is right.

    It gets its name only after its checksum was compared. Until then its bytes are in
    ``NAME.part``, from which a later call continues.

    Raises
    ------
    DownloadError : it cannot be fetched, or is not the published file.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    algorithm, _, checksum = file.checksum.partition(":")
    folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or file_digest(path, algorithm) != checksum:
        transfer(RemotePart(file.name, url, file.size), part, display=display, pause=pause)
        display.say(f"{file.name}: comparing with its checksum")
        if file_digest(part, algorithm) != checksum:
            discard(part)
            size = "of the right size " if file.size else ""
            raise DownloadError(
                f"{file.name} from {url} is not the published file; it was deleted",
                expected=f"{file.checksum} (by {file.checksum_by})",
                found=f"a file {size}with another checksum",
                fix="run the same command again; if that does not help, use a mirror: --base-url",
            )
        os.replace(part, path)
    discard(part)
    return path


DOWNLOADS = "downloads"
"""The folder for parts, and for archives that are kept."""


@dataclass(frozen=True)
class DownloadOptions:
    """``base_url`` of a mirror that has the files by their names, None for the official ones."""

    base_url: str | None = None
    keep_archives: bool = False
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class FileState:
    """A file, where it is fetched from, and whether it is in the folder, verified."""

    file: RemoteFile
    url: str
    there: bool


def look(source: PublishedCohort, folder: Path, base_url: str | None) -> tuple[FileState, ...]:
    """What is in the folder and what is not; nothing is fetched.

    Raises
    ------
    DownloadError : something that is no such file is in the place of one.
    """
    with DOWNLOAD.writing(folder):
        record = read_record(folder)
        return tuple(
            FileState(file, _address(file, base_url), is_there(file, folder, record))
            for file in source.files()
        )


def download(
    source: PublishedCohort, folder: Path, options: DownloadOptions, display: Display
) -> bool:
    """Bring what is missing into the folder; False if nothing was.

    The small files come first, so that a wrong address shows at once, and get their place last, so
    that an unfinished folder is not taken for the cohort. Each archive is unpacked before the next
    is fetched.

    Raises
    ------
    DownloadError : something cannot be fetched, written or unpacked.
    """
    with DOWNLOAD.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked([lock_of(folder / DOWNLOADS)], display):
            states = look(source, folder, options.base_url)
            missing = [state for state in states if not state.there]
            _require_room(missing, folder, keep=options.keep_archives)
            _fill(missing, folder, options, display)
            _remove_if_empty(folder / DOWNLOADS)
    return bool(missing)


def _fill(
    missing: Sequence[FileState], folder: Path, options: DownloadOptions, display: Display
) -> None:
    whole = []
    for state in sorted(missing, key=lambda state: state.file.images is not None):
        place = folder / DOWNLOADS
        path = fetch(state.file, state.url, place, display=display, pause=options.pause)
        stat = path.stat()
        fetched = Fetched(state.url, file_digest(path), stat.st_size, stat.st_mtime_ns)
        if state.file.images is None:
            whole.append((path, fetched))
        else:
            _place_images(state.file, path, fetched, folder, display)
            if not options.keep_archives:
                path.unlink()
    for path, fetched in whole:
        _place(path, folder / path.name, fetched, folder)


def _place_images(
    file: RemoteFile, archive: Path, fetched: Fetched, folder: Path, display: Display
) -> None:
    partial = folder / f".{file.folder}.partial"
    content = unpack(archive, partial, files=file.images or 0, display=display)
    unpacked = replace(fetched, changed_ns=None, unpacked=content)
    _place(partial, folder / (file.folder or ""), unpacked, folder, name=file.name)


def _place(
    path: Path, target: Path, fetched: Fetched, folder: Path, name: str | None = None
) -> None:
    """Record first: what has its name without a record would be taken for the user's own."""
    add_to_record(folder, name or path.name, fetched)
    os.replace(path, target)


def _address(file: RemoteFile, base_url: str | None) -> str:
    return file.url if base_url is None else f"{base_url.rstrip('/')}/{file.name}"


def _require_room(missing: Sequence[FileState], folder: Path, *, keep: bool) -> None:
    """Unpacked images take what their archives take; an archive is removed before the next."""
    sizes = [state.file.size or 0 for state in missing]
    archives = [state.file.size or 0 for state in missing if state.file.images is not None]
    beside = sum(archives) if keep else max(archives, default=0)
    have = sum(path.stat().st_size for path in (folder / DOWNLOADS).glob("*"))
    less = "leave out --keep-archives" if keep else None
    DOWNLOAD.require_room(folder, sum(sizes) + beside - have, otherwise=less)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
