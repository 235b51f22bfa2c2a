"""Find NIH's image files in any of the usual folder layouts and match them to the table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrbench import DataError, Exclusion, choose_image, list_images

_ARCHIVE = re.compile(r"images_[0-9]+")

Files = Mapping[str, Sequence[str]]
"""Paths of image files by their names without extension."""


@dataclass(frozen=True)
class ImageMatch:
    """``rows`` of the table that have an image, the ``paths`` of these images, and the rest."""

    rows: tuple[int, ...]
    paths: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    notes: tuple[str, ...]


def find_images(root: Path) -> Files:
    """The image files of the first layout that has any.

    The layouts are, in this order, ``xray_images/``, ``images/``, ``images_001/images/`` to
    ``images_012/images/`` (or without the inner folder) together, and the folder itself. Links
    that lead nowhere or in a circle and hidden files are no images.

    Raises
    ------
    DataError : a folder cannot be listed, or no layout has an image.
    """
    for folders in _layouts(root):
        files: dict[str, tuple[str, ...]] = {}
        for folder in folders:
            for stem, paths in list_images(folder).items():
                files[stem] = (*files.get(stem, ()), *paths)
        if files:
            return files
    raise DataError(
        f"{root} has no images",
        expected="PNG or JPEG files in xray_images/, images/, images_001/images/ (and so on), or "
        "beside the table",
        found=f"the folders {', '.join(_folder_names(root)) or '(none)'}, no image in those places",
        fix="move or link the images to one of these places",
    )


def match_images(file_names: Sequence[str], image_ids: Sequence[str], files: Files) -> ImageMatch:
    """Give each row of the table its image file, by the name without extension.

    Where several files share that name, the one that the table names exactly is used and the
    others are excluded. If it names several (in several folders), the first of them is used where
    all have the same content. Otherwise the row is excluded.

    Raises
    ------
    DataError : not a single row has an image.
    """
    rows, paths, excluded = [], [], []
    for row, (name, image_id) in enumerate(zip(file_names, image_ids, strict=True)):
        candidates = files.get(image_id, ())
        path = choose_image(name, candidates)
        if path is not None:
            rows.append(row)
            paths.append(path)
            others = [Exclusion(image_id, f"{p}: {path} is used") for p in candidates if p != path]
            excluded.extend(others)
        elif candidates:
            excluded.append(Exclusion(image_id, _ambiguous(candidates)))
        else:
            excluded.append(Exclusion(image_id, "the table has a row, but there is no image file"))
    strangers = sorted(files.keys() - set(image_ids))
    excluded += [
        Exclusion(_readable(name), "there is an image file, but no row") for name in strangers
    ]
    if not rows:
        raise _nothing_matches(file_names, files)
    notes = _notes(len(image_ids) - len(rows), len(image_ids), len(strangers))
    return ImageMatch(tuple(rows), tuple(paths), tuple(excluded), notes)


def places_beside(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """A note on folders of other layouts than that of ``paths``, if there are any; else none."""
    used = {Path(path).parent for path in paths}
    others = [
        str(folder.relative_to(root))
        for folders in _layouts(root)
        for folder in folders
        if root not in folders and not used.intersection(folders) and os.path.isdir(folder)
    ]
    if not others:
        return ()
    where = ", ".join(sorted(str(folder.relative_to(root)) for folder in used))
    return (f"used the images in {where} only, not those in {', '.join(others)}",)


def _layouts(root: Path) -> Iterator[list[Path]]:
    yield [root / "xray_images"]
    yield [root / "images"]
    archives = [root / name for name in _folder_names(root) if _ARCHIVE.fullmatch(name)]
    yield [inner if os.path.isdir(inner := folder / "images") else folder for folder in archives]
    yield [root]


def _folder_names(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Links in circles are none; `os.DirEntry.is_dir` raises for them."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry))


def _readable(name: str) -> str:
    """A file's name may be bytes that are no text, which could not be written to a report."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _ambiguous(candidates: Sequence[str]) -> str:
    return f"several image files, and the table does not say which: {', '.join(candidates)}"


def _notes(without_image: int, rows: int, strangers: int) -> tuple[str, ...]:
    notes = []
    if without_image:
        notes.append(f"excluded {without_image:,} of {rows:,} rows without a usable image file")
    if strangers:
        notes.append(f"excluded {strangers:,} image files without a row")
    return tuple(notes)


def _nothing_matches(file_names: Sequence[str], files: Files) -> DataError:
    return DataError(
        "No image file has a row in the table",
        expected=f"files named like {', '.join(sorted(file_names)[:3])} (or .jpg)",
        found=f"{len(files):,} images, such as {', '.join(sorted(files)[:3])}",
        fix="use the table that belongs to these images, or rename the images as the table does",
    )
