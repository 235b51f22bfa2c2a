"""Sources of images: files, folders, tables of paths, and the rows of a cohort."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cxrbench.data.datasets import find_dataset, load_cohort, recorded_dataset
from cxrbench.data.files import SUFFIXES, has_dicom_mark, image_stem
from cxrbench.data.image_paths import image_id
from cxrbench.data.record_cells import HEADINGS, age_of, film_headings, film_word, sex_of
from cxrbench.data.tables import TABLE_SUFFIXES, read_table, shortened
from cxrbench.errors import DataError, SettingsError, UnreadableImage
from cxrbench.interfaces import Cohort, Dataset, Display, Record
from cxrbench.output.sections import from_csv_cell
from cxrbench.parameters import build, nearest
from cxrbench.runs.predictions import test_rows
from cxrbench.runs.settings_file import CONFIG_FILE, read_config
from cxrbench.store.sources import read_source, require_file

if TYPE_CHECKING:
    import numpy as np

    from cxrbench.registry import Registry
    from cxrbench.runs.run import Run


Readers = Mapping[str, Dataset]
"""Datasets that read their own file formats, by the endings of these files in small letters."""


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image before it is read.

    ``record.image_id`` is its name in results: the path, the text in a table, or the cohort's image
    id. ``read`` takes the largest number of pixels, and returns the bytes of an encoded file or
    grey pixels; it raises `UnreadableImage` or `OSError` where there are none. ``row`` is the
    place in the cohort that knows the image, if any.
    """

    record: Record
    read: Callable[[int], bytes | np.ndarray]
    row: int | None = None

    @property
    def name(self) -> str:
        """The name of the image in results."""
        return self.record.image_id


@dataclass(frozen=True, eq=False)
class ImageSource:
    """The images that a user names: files, folders, tables with a column of paths, and image ids.

    Paths in a table are relative to the folder ``images``, by default to the table's folder.
    ``image_column`` is the heading of the column of paths, if it has none of the usual ones.
    ``cohort`` is a dataset with its cohort: its images can be named by their ids, and files that
    are named like ids get their row.
    """

    inputs: tuple[Path, ...]
    readers: Readers = field(default_factory=dict)
    image_column: str | None = None
    images: Path | None = None
    cohort: tuple[Dataset, Cohort] | None = None

    def __iter__(self) -> Iterator[InputImage]:
        """Each image, in order; only the names in the folders on the way are held in memory.

        Raises
        ------
        DataError : an input is missing, a folder has no images, or a table cannot be used.
        SettingsError : an option for tables is set, but no input is a table.
        """
        _require_tables(self)
        ids = () if self.cohort is None else self.cohort[1].image_ids
        rows = {name: row for row, name in enumerate(ids)}
        for path in self.inputs:
            if self.cohort is not None and str(path) in rows and not os.path.lexists(path):
                yield from cohort_images(*self.cohort, [rows[str(path)]])
                continue
            for image in self._images_at(path):
                row = rows.get(image_stem(image.name))
                yield image if row is None else replace(image, row=row)

    def _images_at(self, path: Path) -> Iterator[InputImage]:
        if os.path.isdir(path):  # Path.is_dir raises where a folder above is locked
            yield from _images_below(path, self.readers)
        elif _is_table(path) and os.path.isfile(path):
            yield from _images_of_table(path, self)
        elif os.path.lexists(path):
            yield _image_file(path, self.readers)
        else:
            raise _nothing_at(path, self.cohort)


@dataclass(frozen=True)
class ImageCount:
    """The number of images, and of those whose age, sex and view are all unknown."""

    images: int
    without_record: int


def count_images(source: ImageSource) -> ImageCount:
    """Count all images without reading one; raises what iterating over the source raises."""
    images = without_record = 0
    for image in source:
        images += 1
        record = image.record
        without_record += (record.age, record.sex, record.view) == (None, None, None)
    return ImageCount(images, without_record)


def cohort_images(dataset: Dataset, cohort: Cohort, rows: Sequence[int]) -> Iterator[InputImage]:
    """The images at these rows of a cohort."""
    for row in rows:
        read = partial(read_source, dataset, cohort.sources[row], cohort.image_ids[row])
        yield InputImage(cohort.record(row), read, row)


def run_cohort(
    run: Run, data: str | None, registry: Registry, cache: Path, display: Display
) -> tuple[Dataset, Cohort]:
    """The cohort ``data``, by default the one in the settings of the run.

    The settings of a run are not trusted: they can only name data to read, and these must have the
    run's test images with their patients and labels.

    Raises
    ------
    RunError : the settings were changed.
    DataError : the data are not there, are others, or would not only be read.
    """
    if data is not None:
        dataset = find_dataset(data, registry, Path.cwd())
        return dataset, load_cohort(dataset, display, cache)
    config = run.require_unchanged(CONFIG_FILE)
    source = f"{run.name}/{CONFIG_FILE}"
    dataset = recorded_dataset(read_config(config).get("data"), registry, source)
    cohort = load_cohort(dataset, display, cache)
    test_rows(run, cohort)
    return dataset, cohort


def readers_of(registry: Registry, *, accept_unknown: bool = False) -> Readers:
    """The installed datasets that read their own file formats, by the endings of these files.

    With ``accept_unknown`` they take files that do not say what they show, if they have a choice.
    """
    parts = {part.name: part for part in registry.parts["dataset"].values()}
    datasets = [cast("type[Dataset]", part) for part in parts.values()]
    return {s: _reader(kind, accept_unknown) for kind in datasets for s in kind.file_suffixes}


def _reader(kind: type[Dataset], accept_unknown: bool) -> Dataset:
    pairs = {"unknown": "accept"} if accept_unknown and hasattr(kind, "unknown") else {}
    return cast("Dataset", build(kind, pairs, kind.name))


_DICOM = ".dcm"


def _reader_of(path: Path, readers: Readers) -> Dataset | None:
    """By the ending of the name, else by DICOM's mark in the file."""
    reader = readers.get(path.suffix.lower())
    if reader is None and _DICOM in readers and has_dicom_mark(path):
        return readers[_DICOM]
    return reader


def _nothing_at(path: Path, cohort: tuple[Dataset, Cohort] | None) -> DataError:
    kinds = "an image file, a folder of images, or a table (.csv, .tsv)"
    if cohort is None:
        return DataError(
            f"{path} does not exist", expected=kinds, found="no such file", fix="check the path"
        )
    ids = cohort[1].image_ids
    return DataError(
        f"{path} does not exist",
        expected=f"{kinds}; or the id of an image of {cohort[1].name!r}, such as {ids[0]}",
        found="no such file, and no such id",
        fix=nearest(str(path), ids) or "check the path",
    )


def _require_tables(source: ImageSource) -> None:
    tables = any(map(_is_table, source.inputs))
    for option, value in (("--image-column", source.image_column), ("--images", source.images)):
        if value is not None and not tables:
            raise SettingsError(
                f"{option} needs a table among the inputs",
                expected="a table (.csv, .tsv) as an input",
                found=", ".join(map(str, source.inputs[:3])) or "no input",
                fix=f"remove {option}, or name the table",
            )


def _image_file(path: Path, readers: Readers) -> InputImage:
    return InputImage(Record(_printable(str(path))), partial(_read_file, path, readers))


def _read_file(path: Path, readers: Readers, max_pixels: int) -> bytes | np.ndarray:
    require_file(path, max_pixels)
    reader = _reader_of(path, readers)
    return (
        path.read_bytes() if reader is None else reader.read_new(str(path), max_pixels=max_pixels)
    )


def _refuse(reason: str, max_pixels: int) -> bytes:
    raise UnreadableImage(reason)


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith(TABLE_SUFFIXES)


def _images_below(folder: Path, readers: Readers) -> Iterator[InputImage]:
    suffixes = (*SUFFIXES, *readers)
    empty = True
    for path in _walk(folder, suffixes):
        empty = False
        yield _image_file(path, readers)
    if empty:
        raise DataError(
            f"the folder {folder} has no images",
            expected=f"files that end in {', '.join(suffixes)}, at any depth",
            found="no such file",
            fix="check the folder; name a file with another ending by itself",
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
        status = folder.stat()
        # Links may lead back up, or again and again to one folder.
        if (status.st_dev, status.st_ino) in entered:
            return []
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed",
            expected="a folder that this user may read",
            found=error.strerror or str(error),
            fix="check its permissions (chmod u+rx)",
        ) from error
    names = [(entry.name, _is_folder(entry)) for entry in visible]
    return sorted((n, inner) for n, inner in names if inner or _is_image(folder / n, suffixes))


def _is_image(path: Path, suffixes: tuple[str, ...]) -> bool:
    """By the ending of the name; DICOM files often have none."""
    if path.name.lower().endswith(suffixes):
        return True
    return not path.suffix[1:].isalpha() and _DICOM in suffixes and has_dicom_mark(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return os.path.isdir(entry.path)  # False, not an error, for a link to itself
    return entry.is_dir(follow_symlinks=False)


def _printable(text: str) -> str:
    """The text; bytes of a file's name that are not Unicode are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _images_of_table(path: Path, source: ImageSource) -> Iterator[InputImage]:
    """The image of each row. An age, sex or view that is not valid is unknown.

    What is no frontal chest radiograph by the table's view, modality or body part is not read.
    """
    folder = path.parent if source.images is None else source.images
    table = read_table(path)
    names = HEADINGS["image"] if source.image_column is None else (source.image_column,)
    usual = {key: HEADINGS[key] for key in ("age", "sex")}
    places = table.places({"image": names, **usual, **film_headings()})
    if "image" not in places:
        raise DataError(
            f"{path} has no column of image paths",
            expected=" or ".join(map(repr, names)),
            found=shortened(_printable(", ".join(table.header))),
            fix="name the column with --image-column",
        )
    empty = True
    for _, row in table.rows:
        empty = False
        cells = {key: row[place].strip() for key, place in places.items()}
        name = cells["image"] = from_csv_cell(cells["image"])
        meanings = [film_word(key, text) for key, text in cells.items() if key in film_headings()]
        reason = next((meaning.reason for meaning in meanings if meaning.reason), "")
        reason = reason if name else "the table names no image"
        file = folder / image_id(name)
        read = partial(_refuse, reason) if reason else partial(_read_file, file, source.readers)
        view = next((meaning.code for meaning in meanings if meaning.code), None)
        yield InputImage(_record(cells, view), read)
    if empty:
        raise DataError(
            f"{path} names no images",
            expected="a header, and one row per image below it",
            found=f"the columns {', '.join(table.header)}, 0 rows",
        )


def _record(cells: Mapping[str, str], view: str | None) -> Record:
    return Record(
        image_id=_printable(cells["image"]),
        age=age_of(cells.get("age", "")),
        sex=sex_of(cells.get("sex", "")) or None,
        view=view,
    )
