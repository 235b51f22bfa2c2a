"""Rows of any table of images: the file of each, its view, patient and part of the split."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

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


def read_rows(
    path: Path, folder: Path, options: Mapping[str, str], labels: LabelOptions
) -> Columns:
    """The table's columns, one row for each image.

    Two columns are added: `SOURCE`, the image's path, and `NO_IMAGE`, why there is none.
    ``options`` and ``labels`` are those of `wanted_columns`; paths start in ``folder``.

    Raises
    ------
    DataError : the table cannot be read, lacks a column, or contradicts itself about an image.
    """
    table = read_table(path)
    headings = wanted_columns(table, options, labels)
    if "image" not in headings:
        fix = "name it: --data csv:path=…,image=COLUMN"
        raise table.missing_column(IMAGE, fix)
    columns = table.columns(headings)
    texts = columns.require("image")
    listed: dict[str, ImagesByStem] = {}
    matches = [find_image(folder, text, listed) for text in texts]
    sources, reasons = map(list, zip(*matches, strict=True))
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
        f"excluded {number:,} of {len(reasons):,} rows: {kind}"
        for kind, number in kinds.most_common()
    )


def nothing_found(columns: Columns, folder: Path, reasons: Sequence[str]) -> DataError:
    """The error for a table of which every row is left out."""
    text = columns.cells["image"][0]
    above = os.path.isfile(folder.parent / text)
    hint = "they exist with images=.." if above else "check where the paths start"
    return DataError(
        f"{columns.path} has no row with an image that can be used",
        expected=f"files such as {folder / text}",
        found="; ".join(left_out(reasons)),
        fix=f"name the folder where the paths start: --data csv:path=…,images=DIR ({hint})",
    )


NO_FILE = "the table has a row, but there is no image file"

ImagesByStem = Mapping[str, Sequence[str]]


def image_id(text: str) -> str:
    """The table's own text for an image, written in one way."""
    return posixpath.normpath(text.replace("\\", "/"))


def find_image(folder: Path, text: str, listed: dict[str, ImagesByStem]) -> tuple[str, str]:
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
    return "", NO_FILE


IMAGE = ("image", "Image Index", "path", "image_id")
"""What the column of images may be called where no option names it."""

VIEW = "view:"


def wanted_columns(
    table: Table, options: Mapping[str, str], labels: LabelOptions
) -> dict[str, tuple[str, ...]]:
    """What each column is called, by keys; those of views begin with `VIEW`.

    ``options`` has the options ``image``, ``patient``, ``age``, ``sex``, ``split`` and ``view``,
    ``""`` where one is not given. All columns that tell the view are used. Where nothing says which
    columns are labels, every column that is nothing else is one.

    Raises
    ------
    DataError : a column that an option names is not there, or none is left for labels.
    """
    usual = {"image": IMAGE, **{key: HEADINGS[key] for key in ("patient", "age", "sex", "split")}}
    named: dict[str, tuple[str, ...]] = {key: (options[key],) for key in usual if options[key]}
    named |= _views(names_in(options["view"]))
    usual |= {} if options["view"] else _views(HEADINGS["view"])
    headings = {**usual, **named}
    places = table.places(headings)
    for key, names in named.items():
        if key not in places:
            raise table.missing_column(names)
    headings = {key: names for key, names in headings.items() if key in places}
    taken = [table.header[place] for place in places.values()]
    return {**headings, **labels.columns(table, taken)}


def _views(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {f"{VIEW}{name}": (name,) for name in names}


_FRONTAL = ("PA", "AP")
_POSITION_UNKNOWN = ("FRONTAL", "")
_OTHER = (
    *("LATERAL", "LAT", "LL", "RL", "LEFT LATERAL", "RIGHT LATERAL", "XTABLE LATERAL", "SWIMMERS"),
    *("LAO", "RAO", "LPO", "RPO", "OBLIQUE"),
)
"""Words of CheXpert, MIMIC-CXR and DICOM (View Position) for what is no frontal radiograph."""


@dataclass(frozen=True)
class Views:
    """``views`` (N,) hold PA, AP or ``""``; ``reasons`` (N,) why a row is left out, else ``""``."""

    views: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def views_of(columns: Columns) -> Views:
    """What all columns of views say together of each row."""
    keys = [key for key in columns.cells if key.startswith(VIEW)]
    if not keys:
        return Views(("",) * len(columns), ("",) * len(columns), ())
    rows = list(zip(*(columns.cells[key] for key in keys), strict=True))
    counts = Counter(rows)
    views = {cells: _view(cells) for cells in counts}
    reasons = {cells: _reason(cells) for cells in counts}
    unknown = Counter[str]()
    for cells, number in counts.items():
        unknown.update({text: number for text in cells if _is_unknown(text)})
    words = ", ".join(repr(text[:40]) for text in sorted(unknown)[:5])
    notes = (f"treated {unknown.total():,} views as unknown ({words})",) if unknown else ()
    return Views(tuple(views[row] for row in rows), tuple(reasons[row] for row in rows), notes)


def _view(cells: tuple[str, ...]) -> str:
    return next((text.upper() for text in cells if text.upper() in _FRONTAL), "")


def _reason(cells: tuple[str, ...]) -> str:
    other = next((text for text in cells if text.upper() in _OTHER), None)
    return "" if other is None else f"not a frontal view: {other}"


def _is_unknown(text: str) -> bool:
    return text.upper() not in (*_FRONTAL, *_POSITION_UNKNOWN, *_OTHER)


_PARTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
        **dict.fromkeys(("test", "testing"), "test"),
        **dict.fromkeys(("train_val", "trainval"), "train_val"),
        "": "",
    }
)


def patients_of(columns: Columns, pattern: str) -> Sequence[str]:
    """The patient's column, or what ``pattern`` finds in it: its first group, else all of it.

    Raises
    ------
    DataError : a cell is blank, or the pattern finds nothing in it.
    """
    cells = columns.require("patient")
    if not pattern:
        return cells
    matches = [re.search(pattern, text) for text in cells]
    patients = [(m[1] if m.re.groups else m[0]) or "" if m else "" for m in matches]
    if "" in patients:
        row = patients.index("")
        raise DataError(
            f"Line {columns.lines[row]} of {columns.path} has no patient",
            expected=f"a match of patient_pattern={pattern} in {columns.titles['patient']}",
            found=f"{cells[row][:100]!r}, and {patients.count('') - 1:,} more",
            fix="correct the pattern or the cells: without patients, a split would leak",
        )
    return patients


def parts_of(columns: Columns) -> tuple[str, ...]:
    """The published part of each row: ``train``, ``val``, ``test``, ``train_val`` or ``""``.

    Raises
    ------
    DataError : a cell holds another word.
    """
    cells = [text.lower() for text in columns.cells["split"]]
    odd = next((row for row, text in enumerate(cells) if text not in _PARTS), None)
    if odd is not None:
        raise DataError(
            f"Line {columns.lines[odd]} of {columns.path} has no valid split",
            expected=f"{', '.join(filter(None, _PARTS))}, or nothing",
            found=repr(columns.cells["split"][odd][:100]),
            fix=f"correct the column {columns.titles['split']!r}, or name another: "
            "--data csv:path=…,split=COLUMN",
        )
    return tuple(_PARTS[text] for text in cells)


def no_patients(columns: Columns) -> DataError:
    """The error for a table that does not say whose images are whose."""
    return DataError(
        f"{columns.path} does not name the patient of each image",
        expected="a column called patient, Patient ID, patient_id or subject_id, or the option "
        "patient=COLUMN",
        found="no such column",
        fix="name it: --data csv:path=…,patient=COLUMN (with patient_pattern=REGEX if the patient "
        "is a part of its text, such as a path); or use patients=unknown",
    )
