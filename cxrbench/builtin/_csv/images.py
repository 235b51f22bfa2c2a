"""The image file that each row of a table names."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrbench import choose_image, image_stem, list_images

Listing = Mapping[str, Sequence[str]]


def image_id(text: str) -> str:
    """The table's own text for an image, written in one way."""
    return posixpath.normpath(text.replace("\\", "/"))


def find_image(folder: Path, text: str, listed: dict[str, Listing]) -> tuple[str, str]:
    """The path of the file and ``""``, or ``""`` and why there is none.

    It is the file of this name, else the only image of the same name with another extension or
    with none in the table. ``listed`` keeps what folders hold between calls.

    Raises
    ------
    DataError : a folder cannot be listed.
    """
    path = os.path.join(folder, image_id(text))
    if os.path.isfile(path):
        return path, ""
    where = os.path.dirname(path)
    if where not in listed:
        listed[where] = list_images(Path(where))
    candidates = listed[where].get(image_stem(path), ())
    chosen = choose_image(path, candidates)
    if chosen is not None:
        return chosen, ""
    if candidates:
        return "", f"several image files, and the table does not say which: {', '.join(candidates)}"
    return "", "the table has a row, but there is no image file"
