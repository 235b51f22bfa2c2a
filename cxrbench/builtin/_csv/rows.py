"""The rows of a table with the image file of each, and which of them are left out."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrbench import (
    HEADINGS,
    Columns,
    DataError,
    LabelOptions,
    Table,
    choose_image,
    image_stem,
    list_images,
    names_in,
    read_table,
)

SOURCE = "source"
NO_IMAGE = "no image"


def read_rows(path: Path, folder: Path, given: Mapping[str, str], labels: LabelOptions) -> Columns:
    """The table's columns, one row for each image.

    Two columns are added: `SOURCE`, the image's path, and `NO_IMAGE`, why there is none. ``given``
    and ``labels`` are the options of `wanted_columns`; paths start in ``folder``.

    Raises
    ------
    DataError : the table cannot be read, lacks a column, or contradicts itself about an image.
    """
    table = read_table(path)
    wanted = wanted_columns(table, given, labels)
    if "image" not in wanted:
        fix = "name it: --data csv:path=…,image=COLUMN"
        raise table.missing_column(IMAGE, fix)
    columns = table.columns(wanted)
    texts = columns.require("image")
    listed: dict[str, Listing] = {}
    found = [find_image(folder, text, listed) for text in texts]
    sources, reasons = map(list, zip(*found, strict=True))
    extended = replace(columns, cells={**columns.cells, SOURCE: sources, NO_IMAGE: reasons})
    return extended.without_repeats(
        [source or text for source, text in zip(sources, texts, strict=True)],
        [key for key in columns.cells if key != "image"],
        separator=labels.joiner,
    )


def left_out(reasons: Sequence[str]) -> tuple[str, ...]:
    """How many rows are left out for each kind of reason; ``""`` stands for a row that is used."""
    kinds = Counter(reason.partition(":")[0] for reason in reasons if reason)
    return tuple(
        f"left out {number:,} of {len(reasons):,} rows: {kind}"
        for kind, number in kinds.most_common()
    )


def nothing_found(columns: Columns, folder: Path, reasons: Sequence[str]) -> DataError:
    """The error for a table of which every row is left out."""
    text = columns.cells["image"][0]
    above = os.path.isfile(folder.parent / text)
    hint = "with images=.. they are there" if above else "see where the paths start"
    return DataError(
        f"{columns.path} has no row with an image that can be used.",
        expected=f"files such as {folder / text}",
        found="; ".join(left_out(reasons)),
        fix=f"name the folder where the paths start: --data csv:path=…,images=DIR ({hint})",
    )


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


IMAGE = ("image", "Image Index", "path", "image_id")
"""What the column of images may be called where no option names it."""

VIEW = "view:"


def wanted_columns(
    table: Table, given: Mapping[str, str], labels: LabelOptions
) -> dict[str, tuple[str, ...]]:
    """What each column is called, by keys; those of views begin with `VIEW`.

    ``given`` has the options ``image``, ``patient``, ``age``, ``sex``, ``split`` and ``view``,
    ``""`` where one is not given. All columns that tell the view are used. Where nothing says which
    columns are labels, every column that is nothing else is one.

    Raises
    ------
    DataError : a column that an option names is not there, or none is left for labels.
    """
    usual = {"image": IMAGE, **{key: HEADINGS[key] for key in ("patient", "age", "sex", "split")}}
    named: dict[str, tuple[str, ...]] = {key: (given[key],) for key in usual if given[key]}
    named |= _views(names_in(given["view"]))
    usual |= {} if given["view"] else _views(HEADINGS["view"])
    wanted = {**usual, **named}
    places = table.places(wanted)
    for key, names in named.items():
        if key not in places:
            raise table.missing_column(names)
    wanted = {key: names for key, names in wanted.items() if key in places}
    taken = [table.header[place] for place in places.values()]
    return {**wanted, **labels.columns(table, taken)}


def _views(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {f"{VIEW}{name}": (name,) for name in names}
