"""One published file, fetched and compared with its checksum by pooch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.data.download.part import discard
from cxrbench.data.download.transfer import Request, transfer
from cxrbench.errors import DownloadError

if TYPE_CHECKING:
    from cxrbench.data.download.catalog import RemoteFile
    from cxrbench.interfaces import Display


def fetch(
    file: RemoteFile, url: str, folder: Path, *, display: Display, pause: Callable[[float], None]
) -> Path:
    """The file in ``folder``: fetched from ``url``, or as it is if it is there and right.

    It only gets its name once its checksum was found right. Before that its bytes are in
    ``NAME.part``, from which a later call goes on.

    Raises
    ------
    DownloadError : it cannot be fetched, or is not the file that was published.
    """
    import pooch

    # Pooch tells every step on its own logger; the display already does.
    pooch.get_logger().setLevel(logging.WARNING)
    part = folder / f"{file.name}.part"
    for stray in folder.glob("tmp????????"):  # of a command that was killed while pooch checked
        stray.unlink()

    def resume(url: str, output: str, _: Any) -> None:
        transfer(Request(file.name, url, file.size), part, display=display, pause=pause)
        display.say(f"{file.name}: comparing with its checksum")
        _hand_over(part, output)

    try:
        path = pooch.retrieve(url, file.checksum, file.name, folder, downloader=resume)
    except ValueError as error:  # what pooch raises for another checksum
        discard(part)
        raise DownloadError(
            f"{file.name} from {url} is not the published file; it was deleted",
            expected=f"{file.checksum} (by {file.checksum_by})",
            found="a file of the right size with another checksum"
            if file.size
            else "a file with another checksum",
            fix="run the same command again; if that does not help, try a mirror with --base-url",
        ) from error
    discard(part)
    return Path(path)


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file, in hexadecimal."""
    import pooch

    told: str = pooch.file_hash(str(path), alg=algorithm)
    return told


def _hand_over(part: Path, output: str) -> None:
    """Give pooch the bytes, and keep the part until pooch has checked them: a kill loses nothing.

    Where the file system has no hard links, a kill within that check means to fetch again.
    """
    os.unlink(output)
    try:
        os.link(part, output)
    except OSError:
        os.replace(part, output)
