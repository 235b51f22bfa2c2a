"""Fetch a cohort into a folder that ``--data`` recognises; the same call again verifies it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.data.download.catalog import PublishedCohort, RemoteFile
from cxrbench.data.download.state import Fetched, add_to_record, is_there, read_record, unpack
from cxrbench.data.download.transfer import DOWNLOAD, RemotePart, discard, transfer
from cxrbench.errors import DownloadError
from cxrbench.output.files import file_digest, lock_of, locked, size_text
from cxrbench.output.sections import CellTable, Column, Section, counted, text_column

if TYPE_CHECKING:
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


_COLUMNS = (
    *(text_column("file"), Column("size"), text_column("checksum"), text_column("downloaded")),
)


@dataclass(frozen=True)
class DownloadReport:
    """The files of a cohort; ``dry_run``: none was to be fetched, ``fetched``: some were."""

    dataset: str
    folder: Path
    files: Sequence[FileState]
    dry_run: bool
    fetched: bool

    @property
    def complete(self) -> bool:
        """Whether every file is in the folder."""
        return all(state.there for state in self.files)

    @property
    def next_command(self) -> str:
        """The command that uses the cohort."""
        # With a slash it is a folder to every reader, and not the dataset of that name.
        return f"cxrbench run resnet+orb --data {shlex.quote(f'{self.folder}/')}"

    def sections(self) -> list[Section]:
        """Whether all files are there; for a dry run also a table of files, and addresses."""
        tables, notes = list[CellTable](), list[str]()
        if self.dry_run:
            tables.append(CellTable(_COLUMNS, tuple(map(_row, self.files))))
            notes += [f"{state.file.name}: {state.url}" for state in self.files]
        if self.complete:
            notes += [*self._archives(), f"Next: {self.next_command}"]
        return [Section(self._summary(), tuple(tables), tuple(notes))]

    def _summary(self) -> str:
        if not self.complete:
            missing = [state.file.size for state in self.files if not state.there]
            known = size_text(sum(size for size in missing if size is not None))
            more = " and more" if None in missing else ""
            return f"{self.folder}: {counted(len(missing), 'file')} missing, {known}{more}"
        images = sum(state.file.images or 0 for state in self.files)
        return (
            f"{self.folder} is complete"
            + ("" if self.fetched else " already; nothing was downloaded")
            + f": {counted(len(self.files), 'file')} verified"
            + (f", {images:,} images" if images else "")
        )

    def _archives(self) -> list[str]:
        place = self.folder / DOWNLOADS
        sizes = [path.stat().st_size for path in place.glob("*") if path.is_file()]
        if not sizes:
            return []
        return [f"{counted(len(sizes), 'archive')} kept in {place}, {size_text(sum(sizes))}"]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dataset": self.dataset,
            "folder": self.folder,
            "complete": self.complete,
            "fetched": self.fetched,
            "files": self.records(),
            "next": self.next_command,
        }

    def records(self) -> list[dict[str, Any]]:
        """One line for each file."""
        record = read_record(self.folder)
        return [
            {
                "name": state.file.name,
                "url": state.url,
                "size": state.file.size,
                "checksum": state.file.checksum,
                "checksum_by": state.file.checksum_by,
                "sha256": record[state.file.name].sha256 if state.file.name in record else None,
                "there": state.there,
            }
            for state in self.files
        ]


def _row(state: FileState) -> tuple[str, ...]:
    return (
        state.file.name,
        "unknown" if state.file.size is None else size_text(state.file.size),
        f"{state.file.checksum.partition(':')[0].upper()} by {state.file.checksum_by}",
        "yes" if state.there else "no",
    )
