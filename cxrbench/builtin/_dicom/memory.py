"""What earlier scans found, kept under pseudonyms, so that a big archive is read once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cxrbench import CxrbenchError
from cxrbench.builtin._dicom.radiograph import Radiograph
from cxrbench.builtin._dicom.syntaxes import INSTALL

_VERSION = 1
"""Raised when the same header would be judged in another way."""

Found = Radiograph | str
"""A radiograph, or why a file is none."""


class Memory:
    """Lines of (file, signature, what was found), appended to as a scan goes on.

    A line that was cut short by a kill, or damaged, is as if it had not been written. ``path`` is
    None where nothing is kept. The first line names the archive, for `cxrbench cache list`; the
    file's time is that of the last use.
    """

    def __init__(self, path: Path | None, archive: str, *, accept_unknown: bool) -> None:
        self._path = path
        self._about = json.dumps({"dataset": "dicom", "data": archive})
        self._judged = f"{_VERSION}{'+' if accept_unknown else ''}"
        self._known: dict[tuple[str, str], Found] = {}
        if path is not None and path.exists():
            for line in path.read_text("utf-8", "replace").splitlines():
                self._learn(line)
            with suppress(
                OSError
            ):  # a cache that belongs to somebody else can be read all the same
                os.utime(path)

    def signature(self, path: str) -> str:
        """What changes when a file does, or the way in which it is judged."""
        told = os.stat(path)
        return f"{self._judged}:{told.st_size}:{told.st_mtime_ns}"

    def recall(self, file: str, signature: str) -> Found | None:
        """What was found in this file, None where it is not known."""
        return self._known.get((file, signature))

    def keep(self, found: Iterable[tuple[str, str, Found]]) -> None:
        """Write what a later scan can use; a decoder that was missing may be there by then."""
        lines = [
            json.dumps([file, signature, what if isinstance(what, str) else vars(what)])
            for file, signature, what in found
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
                f"cannot write to the cache in {self._path.parent}",
                expected="a folder with room that this user may write to",
                found=error.strerror or str(error),
                fix="make room, or choose another folder with --cache or CXRBENCH_CACHE",
            ) from error

    def _learn(self, line: str) -> None:
        try:
            file, signature, what = json.loads(line)
            found = what if isinstance(what, str) else Radiograph(**what)
            self._known[str(file), str(signature)] = found
        except (ValueError, TypeError):
            return
