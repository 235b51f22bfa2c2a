"""What a folder already has: ``download.json``, and the files themselves compared with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.data.download.unpack import Content, measure
from cxrbench.errors import DownloadError
from cxrbench.output.files import file_digest, write_json

if TYPE_CHECKING:
    from cxrbench.data.download.catalog import RemoteFile

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
        told = json.loads(path.read_bytes())
        return {name: _fetched(values) for name, values in told["files"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadError(
            f"{path} is damaged",
            expected="what a download wrote",
            found=f"{type(error).__name__}: {error}",
            fix="delete that file and run the same command again; what is there is verified anew",
        ) from error


def add_to_record(folder: Path, name: str, fetched: Fetched) -> None:
    """Write the record with one file more."""
    record = {**read_record(folder), name: fetched}
    told = {"files": {name: asdict(value) for name, value in sorted(record.items())}}
    write_json(folder / RECORD, told, durable=True)


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
    found = measure(path) if path.is_dir() else Content(0, path.stat().st_size)
    expected = known.unpacked if known and known.unpacked else Content(images, found.bytes)
    if found != expected:
        raise DownloadError(
            f"{path} is not as it should be",
            expected=f"{expected.files:,} files" + f", {expected.bytes:,} bytes" * bool(known),
            found=f"{found.files:,} files, {found.bytes:,} bytes",
            fix="move or delete it and run the same command again, or choose another --into",
        )


def _compare_file(path: Path, file: RemoteFile, known: Fetched | None) -> None:
    stat = path.stat()
    if known and (stat.st_size, stat.st_mtime_ns) == (known.size, known.changed_ns):
        return
    algorithm, _, expected = file.checksum.partition(":")
    found = file_digest(path, algorithm) if path.is_file() else "a folder"
    if found != expected:
        raise DownloadError(
            f"{path} is not the published file",
            expected=file.checksum,
            found=f"{stat.st_size:,} bytes, {algorithm}:{found}",
            fix="move or delete it and run the same command again, or choose another --into",
        )


def _fetched(values: dict[str, Any]) -> Fetched:
    unpacked = values.pop("unpacked")
    return Fetched(**values, unpacked=None if unpacked is None else Content(**unpacked))
