"""The table of labels, read without ever quoting what it holds: cells may name patients."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench import HEADINGS, DataError, LabelOptions, read_table

if TYPE_CHECKING:
    import numpy as np

IMAGE_COLUMNS = (
    *("image", "image_id", "Image Index", "file", "filename", "path"),
    *("SOPInstanceUID", "SOP Instance UID", "dicom_id"),
)


@dataclass(frozen=True, eq=False)
class LabelTable:
    """``images`` (N) as the table writes them, ``values`` (N, L) float32 1, 0 or NaN, and notes."""

    names: tuple[str, ...]
    images: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...]


def read_labels(path: Path, image: str, options: LabelOptions) -> LabelTable:
    """Read and check the table; ``image`` is its column of images, ``""`` for the usual names.

    Raises
    ------
    DataError : it cannot be read, a column is missing, a cell is no label, or rows of one image
        disagree.
    """
    with _quoting_nothing():
        table = read_table(path)
        wanted: dict[str, tuple[str, ...]] = {"image": (image,) if image else IMAGE_COLUMNS}
        if not table.places(wanted):
            raise table.missing_column(wanted["image"], "name it: image=COLUMN")
        usual = [name for names in HEADINGS.values() for name in names]
        wanted |= options.columns(table, (image, *IMAGE_COLUMNS, *usual))
        columns = table.columns(wanted)
        images = [text.replace("\\", "/") for text in columns.require("image")]
        same = [key for key in columns.cells if key != "image"]
        columns = columns.without_repeats(images, same, separator=options.joiner)
        labels = options.read(columns)
    images = [text.replace("\\", "/") for text in columns.cells["image"]]
    return LabelTable(labels.names, tuple(images), labels.values, (*columns.notes, *labels.notes))


@contextmanager
def _quoting_nothing() -> Iterator[None]:
    """Tell an error without what was found in the table; what the system found is no secret."""
    try:
        yield
    except DataError as error:
        unread = isinstance(error.__cause__, OSError | EOFError | csv.Error)
        raise DataError(
            error.problem,
            expected=error.expected,
            found=error.found if unread else "not shown, since it may identify a patient",
            fix=error.fix,
        ) from None
