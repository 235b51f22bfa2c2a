"""The table from ids to files, for the user's own eyes."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from cxrbench import DataError


def write_crosswalk(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write (id, file, reason or "") as CSV, whole or not at all, for its owner alone (mode 600).

    Raises
    ------
    DataError : there can be no such file.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("id", "file", "reason"))
                writer.writerows(rows)
            os.replace(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
    except OSError as error:
        raise DataError(
            f"the crosswalk {path} cannot be written",
            expected="the name of a file in a folder that exists",
            found=error.strerror or str(error),
            fix="choose another crosswalk=FILE",
        ) from error
