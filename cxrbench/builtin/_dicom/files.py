"""Every file below a folder, in a fixed order, and what is there but cannot be read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from cxrbench import DataError

_LOOKED_AT = 100


@dataclass
class Listing:
    """Relative paths of files, sorted, and of what is no readable file with the reason."""

    files: list[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)


def list_files(root: str, leave_out: Collection[str] = ()) -> Listing:
    """Go through a folder tree; links are followed, and each folder is entered once.

    Hidden files and folders, and the files ``leave_out``, are not listed.

    Raises
    ------
    DataError : ``root`` itself cannot be listed.
    """
    found, waiting, entered = Listing(), [""], set[tuple[int, int]]()
    kept_out = {_identity(os.stat(path)) for path in leave_out if os.path.exists(path)}
    while waiting:
        folder = waiting.pop()
        try:
            known = os.stat(os.path.join(root, folder))
            # Links may lead back up, or again and again to one folder.
            if _identity(known) in entered:
                continue
            entered.add(_identity(known))
            waiting += _look_into(root, folder, kept_out, found)
        except OSError as error:
            if not folder:
                raise _cannot_list(root, error) from error
            found.unusable.append((folder, f"a folder that cannot be listed: {error.strerror}"))
    found.files.sort()
    found.unusable.sort()
    return found


def has_dicom_among_the_first(folder: str) -> bool:
    """Whether one of the first files at any depth has DICOM's mark; folders count as files."""
    return any(map(_has_mark, islice(_first_entries(folder), _LOOKED_AT)))


def _identity(known: os.stat_result) -> tuple[int, int]:
    return known.st_dev, known.st_ino


def _look_into(
    root: str, folder: str, kept_out: Collection[tuple[int, int]], found: Listing
) -> list[str]:
    """Note the files of one folder; the folders in it, last first, so that the first is next."""
    folders, inodes = [], {inode for _, inode in kept_out}
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            place = os.path.join(folder, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(place)
            elif entry.is_file():
                # The number of the file comes with its name; that of the device is a call more.
                candidate = entry.is_symlink() or entry.inode() in inodes
                if not (candidate and _identity(entry.stat()) in kept_out):
                    found.files.append(place)
            else:
                what = "a link that leads nowhere" if entry.is_symlink() else "not a file"
                found.unusable.append((place, what))
    return sorted(folders, reverse=True)


def _cannot_list(root: str, error: OSError) -> DataError:
    return DataError(
        f"{root} cannot be listed",
        expected="a folder of DICOM files that this user may read",
        found=error.strerror or str(error),
        fix="check the path and its permissions (chmod u+rx)",
    )


def _first_entries(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(islice(entries, 1000), key=lambda entry: entry.name):
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    yield from _first_entries(entry.path)
    except OSError:  # it is for `load` to say so, should it be this dataset after all
        return


def _has_mark(path: str) -> bool:
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return False
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
