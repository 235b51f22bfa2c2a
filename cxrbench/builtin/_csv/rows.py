"""The rows of a table with the image file of each, and which of them are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrbench import Columns, DataError, LabelOptions, read_table
from cxrbench.builtin._csv.choose import IMAGE, wanted_columns
from cxrbench.builtin._csv.images import Listing, find_image

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
