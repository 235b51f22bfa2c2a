"""A file that is not whole yet, and beside it which version of the file on the server it is of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cxrbench.errors import DownloadError
from cxrbench.output.files import Destination, write_json

DOWNLOAD = Destination(
    "the download in", DownloadError, "choose another folder with --into; what is there is kept"
)


@dataclass(frozen=True)
class Version:
    """What a server says of a file; two parts are joined only if it is the same for both."""

    url: str
    size: int | None
    etag: str | None
    last_modified: str | None

    def is_of(self, before: Version | None) -> bool:
        """A size that was not announced before may be now; all else has to agree."""
        return before is not None and self == replace(before, size=before.size or self.size)


def begin(part: Path, version: Version) -> None:
    """Start over; the version is on the disk before the first byte is."""
    discard(part)
    write_json(version_file(part), asdict(version), durable=True)


def version_of(part: Path, url: str) -> Version | None:
    """The version of a part that came from this address, None where that is not known."""
    try:
        version = Version(**json.loads(version_file(part).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return version if version.url == url else None


def length(part: Path) -> int:
    """Its bytes so far."""
    return part.stat().st_size if part.exists() else 0


def discard(part: Path) -> None:
    """Remove a part and what is known of it."""
    part.unlink(missing_ok=True)
    version_file(part).unlink(missing_ok=True)


def version_file(part: Path) -> Path:
    """Where it says which version a part is of."""
    return part.with_name(f"{part.name}.json")
