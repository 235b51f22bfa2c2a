"""Which file each row of the table means: by path, file name or SOP Instance UID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.radiograph import Radiograph

NO_FILE = "the table has a row, but there is no file that can be used"
NO_ROW = "there is a file, but no row in the table"
SEVERAL_FILES = "several files fit one row of the table; name them by path or SOP Instance UID"
SEVERAL_ROWS = "several rows of the table fit this file"


@dataclass(frozen=True)
class Match:
    """Pairs of (file, row), sorted; files and rows that are in none, with the reason."""

    pairs: tuple[tuple[int, int], ...]
    files: tuple[tuple[int, str], ...]
    rows: tuple[tuple[int, str], ...]


def match(
    images: Sequence[str],
    found: Sequence[tuple[str, Radiograph]],
    rejected: Sequence[str],
    key: Key,
) -> Match:
    """Give each row of the table its file.

    A row means the files with this SOP Instance UID, else with this path below the folder, else
    with this name, else with this name without extension. A row whose file is among the paths
    ``rejected`` is not listed again.
    """
    places = _places(found)
    candidates = [_candidates(image, places, key) for image in images]
    claimed: defaultdict[int, list[int]] = defaultdict(list)
    for row, files in enumerate(candidates):
        for file in files:
            claimed[file].append(row)
    pairs, rest = [], []
    for file in range(len(found)):
        rows = claimed[file]
        if not rows:
            rest.append((file, NO_ROW))
        elif len(rows) > 1:
            rest.append((file, SEVERAL_ROWS))
        elif len(candidates[rows[0]]) > 1:
            rest.append((file, SEVERAL_FILES))
        else:
            pairs.append((file, rows[0]))
    known = {name for path in rejected for name in _names(path)}
    lost = [
        (row, NO_FILE)
        for row, files in enumerate(candidates)
        if not files and known.isdisjoint(_names(images[row]))
    ]
    return Match(tuple(pairs), tuple(rest), tuple(lost))


def _names(path: str) -> tuple[str, str, str]:
    """What can stand for a file, the most exact first."""
    pure = PurePosixPath(path)
    return str(pure), pure.name, pure.stem


def _places(found: Sequence[tuple[str, Radiograph]]) -> list[defaultdict[str, list[int]]]:
    """Files by UID, path, name, and name without extension."""
    places: list[defaultdict[str, list[int]]] = [defaultdict(list) for _ in range(4)]
    for file, (path, radiograph) in enumerate(found):
        for place, name in zip(places, (radiograph.image, *_names(path)), strict=True):
            place[name].append(file)
    return places


def _candidates(image: str, places: Sequence[defaultdict[str, list[int]]], key: Key) -> list[int]:
    for place, name in zip(places, (key.pseudonym("image", image), *_names(image)), strict=True):
        if files := place.get(name):
            return files
    return []
