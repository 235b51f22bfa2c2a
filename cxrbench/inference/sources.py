"""New images for a finished run: from files, folders and tables."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from cxrbench.data.image_files import SUFFIXES
from cxrbench.data.record_cells import age_of, sex_of, view_of
from cxrbench.data.tables import read_table, shortened
from cxrbench.errors import DataError, SettingsError, UnreadableImage
from cxrbench.interfaces import Dataset, Record

if TYPE_CHECKING:
    import numpy as np

    from cxrbench.registry import Registry


TABLE_SUFFIXES = (".csv", ".tsv")

# An uncompressed pixel of 16-bit RGBA: no image that `decode` would take needs more.
_BYTES_PER_PIXEL = 8
_BYTES_BESIDE_PIXELS = 2**24

Readers = Mapping[str, Dataset]
"""Datasets that read files of their own, by the endings of these files in small letters."""


@dataclass(frozen=True)
class Source:
    """What a user names to predict: files, folders, and tables with a column of paths.

    Paths in a table are relative to the folder ``images``, or to the table's own where it is None.
    ``image_column`` is the heading of the column that holds them, if it has none of the usual ones.
    ``suffixes`` are endings of image files in folders, beside `SUFFIXES`.
    """

    inputs: tuple[Path, ...]
    image_column: str | None = None
    images: Path | None = None
    suffixes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[NewImage]:
        """Every image, in order; nothing is held but the names in the folders on the way.

        Raises
        ------
        DataError : an input is missing, a folder has no images, or a table cannot be used.
        SettingsError : an option for tables was given, and there is none.
        """
        _require_tables(self)
        for path in self.inputs:
            if os.path.isdir(path):  # Path.is_dir raises where a folder above is locked
                yield from _images_below(path, (*SUFFIXES, *self.suffixes))
            elif is_table(path):
                yield from images_of_table(path, column=self.image_column, images=self.images)
            elif os.path.lexists(path):
                yield _image_file(path)
            else:
                raise DataError(
                    f"there is no {path}",
                    expected="an image file, a folder of images, or a table (.csv, .tsv)",
                    found="nothing there",
                    fix="check the path",
                )


@dataclass(frozen=True)
class Survey:
    """How many images there are, and of how many neither age nor sex nor view is known."""

    images: int
    without_record: int


def survey(source: Source) -> Survey:
    """Go through all inputs once without reading an image; raises whatever `Source` raises."""
    images = without_record = 0
    for image in source:
        images += 1
        known = (image.record.age, image.record.sex, image.record.view)
        without_record += known == (None, None, None)
    return Survey(images, without_record)


def is_table(path: Path) -> bool:
    """Whether an input is read as a table of paths."""
    return path.suffix.lower() in TABLE_SUFFIXES and os.path.isfile(path)


def readers_of(registry: Registry) -> Readers:
    """The installed datasets that read files of their own, by the endings of these files."""
    parts = {part.name: part for part in registry.parts["dataset"].values()}
    datasets = [cast("type[Dataset]", part) for part in parts.values()]
    return {suffix: kind() for kind in datasets for suffix in kind.file_suffixes}


def read_image(path: Path | None, max_pixels: int, readers: Readers) -> bytes | np.ndarray:
    """The bytes of an image file, or what the reader of such files makes of it.

    Raises
    ------
    UnreadableImage : there is no file, one that no image of ``max_pixels`` can fill, or its reader
        refuses it.
    OSError : it cannot be opened or read.
    """
    if path is None:
        raise UnreadableImage("the table names no image")
    try:
        found = path.stat()
    except ValueError as error:  # a path that no file can have
        raise UnreadableImage(f"cannot be read: {error}") from error
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, a device never ends
        raise UnreadableImage("cannot be read: not a file")
    if found.st_size > max_pixels * _BYTES_PER_PIXEL + _BYTES_BESIDE_PIXELS:
        raise UnreadableImage(
            f"a file of {found.st_size} bytes: more than {max_pixels} pixels need"
        )
    reader = readers.get(path.suffix.lower())
    if reader is not None:
        return reader.read_new(str(path), max_pixels=max_pixels)
    return path.read_bytes()


def _require_tables(source: Source) -> None:
    for option, value in (("--image-column", source.image_column), ("--images", source.images)):
        suffixes = [path.suffix.lower() for path in source.inputs]
        if value is not None and not any(suffix in TABLE_SUFFIXES for suffix in suffixes):
            raise SettingsError(
                f"{option} is for tables, and there is none among the inputs",
                expected="a table (.csv, .tsv) as an input",
                found=", ".join(map(str, source.inputs[:3])) or "no input",
                fix=f"leave {option} out, or name the table",
            )


def _image_file(path: Path) -> NewImage:
    return NewImage(path, Record(printable(str(path))))


def _images_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[NewImage]:
    found = False
    for path in _walk(folder, suffixes):
        found = True
        yield _image_file(path)
    if not found:
        raise DataError(
            f"the folder {folder} has no images",
            expected=f"files that end in {', '.join(suffixes)}, at any depth",
            found="no such file",
            fix="check the folder; a file of another name can be given by itself",
        )


def _walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Image files at any depth, sorted by name in each folder, which is entered in its place."""
    waiting: list[tuple[Path, bool]] = [(folder, True)]
    entered: set[tuple[int, int]] = set()
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            yield path
            continue
        entries = _entries(path, entered, suffixes)
        waiting.extend((path / name, inner) for name, inner in reversed(entries))


def _entries(
    folder: Path, entered: set[tuple[int, int]], suffixes: tuple[str, ...]
) -> list[tuple[str, bool]]:
    """Names of folders (True) and image files below; none of a folder that was entered before."""
    try:
        known = folder.stat()
        # Links may lead back up, or again and again to one folder.
        if (known.st_dev, known.st_ino) in entered:
            return []
        entered.add((known.st_dev, known.st_ino))
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed",
            expected="a folder that this user may read",
            found=error.strerror or str(error),
            fix="check its permissions (chmod u+rx)",
        ) from error
    told = [(entry.name, _is_folder(entry)) for entry in visible]
    return sorted((n, inner) for n, inner in told if inner or n.lower().endswith(suffixes))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return os.path.isdir(entry.path)  # False, not an error, for a link to itself
    return entry.is_dir(follow_symlinks=False)


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


HEADINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("image", "Image Index", "path"),
        "age": ("age", "Patient Age"),
        "sex": ("sex", "Patient Sex", "Patient Gender"),
        "view": ("view", "View Position"),
    }
)
"""What a column may be called, in small or capital letters; the first that is there is used."""


def images_of_table(path: Path, *, column: str | None, images: Path | None) -> Iterator[NewImage]:
    """The image that each row names; relative paths are below ``images``, or beside the table.

    The table is read as `cxrbench.read_table` tells. An age, sex or view that is none is unknown.

    Raises
    ------
    DataError : no text, no column of images, no rows, or a row that does not fit the header.
    """
    folder = path.parent if images is None else images
    table = read_table(path)
    names = HEADINGS["image"] if column is None else (column,)
    places = table.places({**HEADINGS, "image": names})
    if "image" not in places:
        raise DataError(
            f"{path} has no column of image paths",
            expected=" or ".join(map(repr, names)),
            found=shortened(printable(", ".join(table.header))),
            fix="name the column with --image-column",
        )
    empty = True
    for _, row in table.rows:
        empty = False
        cells = {key: row[place].strip() for key, place in places.items()}
        yield NewImage(folder / cells["image"] if cells["image"] else None, _record(cells))
    if empty:
        raise DataError(
            f"{path} names no images",
            expected="a header, and one row per image below it",
            found=f"the columns {', '.join(table.header)}, 0 rows",
        )


def _record(cells: Mapping[str, str]) -> Record:
    return Record(
        image_id=printable(cells["image"]),
        age=age_of(cells.get("age", "")),
        sex=sex_of(cells.get("sex", "")) or None,
        view=view_of(cells.get("view", "")) or None,
    )
