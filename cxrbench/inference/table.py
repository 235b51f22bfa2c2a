"""A table of image paths, with age, sex and view where it has them; taken row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from cxrbench.data.record_cells import age_of, sex_of, view_of
from cxrbench.data.tables import read_table, shortened
from cxrbench.errors import DataError
from cxrbench.inference.new_image import NewImage, printable
from cxrbench.interfaces import Record

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
