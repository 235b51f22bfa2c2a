"""One image to predict, and the text that names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrbench.interfaces import Record


@dataclass(frozen=True)
class NewImage:
    """One image file, None where a table has an empty cell, and what is known of it.

    ``record.image_id`` is the name that the result carries: the path, or a table's own text.
    """

    path: Path | None
    record: Record


def printable(text: str) -> str:
    """The text, with what is no Unicode (bytes of a file's name) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
