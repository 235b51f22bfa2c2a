"""One published file, fetched and compared with its checksum."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.data.download.part import discard
from cxrbench.data.download.transfer import Request, transfer
from cxrbench.errors import DownloadError
from cxrbench.output.files import file_digest

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
        transfer(Request(file.name, url, file.size), part, display=display, pause=pause)
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
