"""Image files in folders, found by their names without extension."""

from __future__ import annotations

import errno
import filecmp
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrbench.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2", ".j2k", ".webp")
"""The endings of what `cxrbench.store.decoding.decode` takes, in small letters."""


def image_stem(name: str) -> str:
    """A file's name without folder and without the extension of an image.

    >>> image_stem("images_001/images/00000013_005.PNG")
    '00000013_005'
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, extension = base.rpartition(".")
    return stem if dot + extension.lower() in SUFFIXES else base


def list_images(folder: Path) -> Mapping[str, Sequence[str]]:
    """Paths of the image files in a folder, sorted, by their names without extension.

    Empty where there is no such folder. Links that lead nowhere or in a circle and hidden files are
    no images.

    Raises
    ------
    DataError : the folder cannot be listed.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in _image_names(folder):
        stem = image_stem(name)
        found[stem] = (*found.get(stem, ()), f"{folder}{os.sep}{name}")
    return found


def choose_image(name: str, candidates: Sequence[str]) -> str | None:
    """The one path among those of one stem that a table means by ``name``.

    It is the only one, or the only one that has exactly this name, or the first of several in
    several folders that have this name and the same content; else None.
    """
    if len(candidates) == 1:
        return candidates[0]
    base = name.replace("\\", "/").rpartition("/")[2]
    named = [path for path in candidates if os.path.basename(path) == base]
    return named[0] if named and all(_same(named[0], path) for path in named[1:]) else None


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
    except OSError:  # nobody can tell, so no choice is made
        return False


def _image_names(folder: Path) -> list[str]:
    if not os.path.isdir(folder):  # Path.is_dir raises where the folder above is locked
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name.lower().endswith(SUFFIXES)
                and not entry.name.startswith(".")
                and _is_file(entry)
            )
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed.",
            expected="a folder that this user may read",
            found=f"{type(error).__name__}: {error}",
            fix="check its permissions (chmod u+rx)",
        ) from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:  # a link: in a circle, or to where only an attempt to read tells more
        return error.errno == errno.EACCES
