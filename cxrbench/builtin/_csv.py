"""Rows of any table of images: the file of each, its view, patient and part of the split."""

from __future__ import annotations

import os
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
    Fault,
    LabelOptions,
    Table,
    film_headings,
    film_word,
    locate,
    names_in,
    read_table,
    similar_ids,
)
from cxrbench.builtin._joined_tables import join_table

SOURCE = "source"
NO_IMAGE = "no image"
ID = "id"


@dataclass(frozen=True)
class TableRows:
    """The table's columns, one row for each image, and the faults of rows that are left out."""

    columns: Columns
    faults: tuple[Fault, ...] = ()


def read_rows(
    path: Path,
    folder: Path,
    options: Mapping[str, str],
    labels: LabelOptions,
    *,
    also: Sequence[Path] = (),
    without_faults: bool = False,
) -> TableRows:
    """The table's columns, joined with those of the tables ``also``, one row for each image.

    Three columns are added: `ID`, the image's text in one form, `SOURCE`, its path, and `NO_IMAGE`,
    why there is none.
    ``options`` and ``labels`` are those of `wanted_columns`; paths start in ``folder``. With
    ``without_faults``, rows that cannot be used are left out, and become faults.

    Raises
    ------
    DataError : the table cannot be read, lacks a column, or contradicts itself about an image.
    """
    misfits: list[DataError] | None = [] if without_faults else None
    table, notes = read_table(path, misfits=misfits), list[str]()
    usual = (name for names in (*HEADINGS.values(), *film_headings().values()) for name in names)
    named = (*options.values(), labels.findings, labels.reader, *names_in(labels.labels))
    used = {name.strip().lower() for name in (*usual, *named, *names_in(options["view"]))}
    keys: list[str] = []
    for other in also:
        table, shared = join_table(table, other, used, misfits=misfits, notes=notes)
        keys += shared
    headings = wanted_columns(table, options, labels, keys)
    if "image" not in headings:
        fix = "name it: --data csv:path=…,image=COLUMN"
        raise table.missing_column(HEADINGS["image"], fix)
    columns = table.columns(headings)
    columns = replace(columns, notes=(*columns.notes, *notes))
    if "patient" in columns.cells:
        patients = ["" if t.lower() in _NOBODY else t for t in columns.cells["patient"]]
        columns = replace(columns, cells={**columns.cells, "patient": patients})
    faults = [Fault("cannot-load", "", str(error)) for error in misfits or ()]
    if without_faults:
        columns, more = usable_rows(columns, labels)
        faults += more
    texts = columns.require("image")
    images = locate(folder, texts, also=path.parent)
    added = {ID: list(images.ids), SOURCE: list(images.paths), NO_IMAGE: list(images.reasons)}
    extended = replace(
        columns,
        cells={**columns.cells, **added},
        titles={**columns.titles, **{key: key for key in added}},
        notes=(*columns.notes, *images.notes),
    )
    ids = [source or name for source, name in zip(images.paths, images.ids, strict=True)]
    if without_faults:
        extended, ids, more = agreeing_rows(extended, ids, labels)
        faults += more
    return TableRows(labels.join_rows(extended, ids), tuple(faults))


_NOBODY = frozenset({"nan", "none", "null"})
"""Texts that pandas and databases write for an empty cell, which are no patient's id."""


def usable_rows(
    columns: Columns, labels: LabelOptions, *, quoting: bool = True
) -> tuple[Columns, list[Fault]]:
    """The rows that have an image, a patient and labels, and a fault for each of the others.

    Without ``quoting``, the faults hold nothing of the table, and a patient may be missing.
    """
    reasons: dict[int, Fault] = {}

    def refuse(row: int, check: str, what: str) -> None:
        image = columns.cells["image"][row] if quoting else ""
        reasons.setdefault(row, Fault(check, image, f"{what} in line {columns.lines[row]}"))

    for row, text in labels.faults(columns, quoting=quoting).items():
        refuse(row, "unknown-label", text)
    for key, check in (("image", "cannot-load"), ("patient", "unclear-patient")):
        for row, text in enumerate(columns.cells.get(key, ()) if quoting or key == "image" else ()):
            if not text:
                refuse(row, check, f"no {columns.titles[key]}")
    if not reasons or len(reasons) == len(columns):  # of a table without a sound row, load tells
        return columns, []
    rows = [row for row in range(len(columns)) if row not in reasons]
    return columns.take(rows), [reasons[row] for row in sorted(reasons)]


def agreeing_rows(
    columns: Columns, ids: list[str], labels: LabelOptions, *, quoting: bool = True
) -> tuple[Columns, list[str], list[Fault]]:
    """The rows of images whose rows do not contradict each other."""
    try:
        labels.first_rows(columns, ids)
        return columns, ids, []
    except DataError:
        pass  # found again below, image by image
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows_of.setdefault(name, []).append(row)
    bad: dict[str, Fault] = {}
    for name, rows in rows_of.items():
        if len(rows) == 1:
            continue
        try:
            labels.first_rows(columns.take(rows), [name] * len(rows))
        except DataError as error:
            text = columns.cells["image"][rows[0]] if quoting else ""
            lines = ", ".join(str(columns.lines[row]) for row in rows[:10])
            what = error.found or str(error) if quoting else f"rows of one image in lines {lines}"
            bad[name] = Fault("contradicting-rows", text, what)
    if not bad or len(bad) == len(rows_of):
        return columns, ids, []
    rows = [row for row, name in enumerate(ids) if name not in bad]
    return columns.take(rows), [ids[row] for row in rows], list(bad.values())


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
        expected=f"files such as {folder / text[:200]}, or of this name at any depth below "
        f"{folder}",
        found="; ".join(left_out(reasons)),
        fix=f"name the folder where the paths start: --data csv:path=…,images=DIR ({hint})",
    )


VIEW = "view:"
_KEYS = ("image", "patient", "age", "sex", "split")


def wanted_columns(
    table: Table, options: Mapping[str, str], labels: LabelOptions, keys: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """What each column is called, by keys; those of views begin with ``view:``.

    ``options`` has the options ``image``, ``patient``, ``age``, ``sex``, ``split`` and ``view``,
    ``""`` where one is not given. All columns that tell the view are used. Where nothing says which
    columns are labels, every column that is nothing else is one, but for the ``keys``.

    Raises
    ------
    DataError : a column that an option names is not there, or none is left for labels.
    """
    usual = {key: HEADINGS[key] for key in _KEYS}
    named: dict[str, tuple[str, ...]] = {key: (options[key],) for key in usual if options.get(key)}
    views = names_in(options["view"])
    named |= {f"{VIEW}{name}": (name,) for name in views}
    headings = {**usual, **film_headings(views), **named}
    places = table.places(headings)
    for key, names in named.items():
        if key not in places:
            raise table.missing_column(names)
    headings = {key: names for key, names in headings.items() if key in places}
    taken = [table.header[place] for place in places.values()]
    return {**headings, **labels.columns(table, [*taken, *keys])}


@dataclass(frozen=True)
class Views:
    """``views`` (N,) hold PA, AP or ``""``; ``reasons`` (N,) why a row is left out, else ``""``."""

    views: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def views_of(columns: Columns) -> Views:
    """What all columns of views, the modality and the part of the body say together of each row."""
    read = [key for key in columns.cells if key.startswith(VIEW) or key in film_headings()]
    if not read:
        return Views(("",) * len(columns), ("",) * len(columns), ())
    words = {(key, text): film_word(key, text) for key in read for text in set(columns.cells[key])}
    rows = list(zip(*(columns.cells[key] for key in read), strict=True))
    counts = Counter(rows)
    meanings = {cells: [words[pair] for pair in zip(read, cells, strict=True)] for cells in counts}
    views = {cells: next((m.code for m in all_ if m.code), "") for cells, all_ in meanings.items()}
    reasons = {cells: next((m.reason for m in a if m.reason), "") for cells, a in meanings.items()}
    notes = []
    for place, key in enumerate(read):
        unknown = Counter[str]()
        for cells, number in counts.items():
            if not meanings[cells][place].known:
                unknown[cells[place]] += number
        if unknown:
            shown = ", ".join(repr(text[:40]) for text in sorted(unknown)[:5])
            title = columns.titles[key]
            notes.append(f"{title}: {unknown.total():,} cells are not understood ({shown})")
    return Views(
        tuple(views[row] for row in rows), tuple(reasons[row] for row in rows), tuple(notes)
    )


def word_faults(columns: Columns, views: Views, reasons: Sequence[str]) -> tuple[Fault, ...]:
    """Words that nobody understands and ages that nobody reaches, in rows that are used."""
    rows = [row for row, reason in enumerate(reasons) if not reason]
    used = columns.take(rows)
    (ages, _), (_, sexes) = used.ages(), used.sexes()
    impossible = (
        Fault("impossible-age", image, f"{text!r} in line {line}")
        for image, text, line, age in zip(
            used.cells[ID], used.cells.get("age", ()), used.lines, ages, strict=False
        )
        if age != age and any(map(str.isdigit, text))
    )
    return (*(Fault("unknown-word", "", note) for note in (*views.notes, *sexes)), *impossible)


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


def similar_patients(patients: Sequence[str]) -> tuple[str, ...]:
    """A note on patients whose ids differ in leading zeros, ``.0``, capitals or signs alone."""
    groups = similar_ids(patients)
    if not groups:
        return ()
    some = "; ".join(" = ".join(map(repr, group)) for group in groups[:3])
    return (f"{len(groups):,} patients may have several ids and count as several: {some}",)


def parts_of(columns: Columns) -> tuple[str, ...]:
    """The published part of each row: ``train``, ``val``, ``test``, ``train_val`` or ``""``.

    Raises
    ------
    DataError : a cell holds another word.
    """
    cells = [text.lower() for text in columns.cells["split"]]
    odd = [row for row, text in enumerate(cells) if text not in _PARTS]
    if odd:
        words = sorted({columns.cells["split"][row][:40] for row in odd})
        lines = ", ".join(str(columns.lines[row]) for row in odd[:10])
        raise DataError(
            f"Line {columns.lines[odd[0]]} of {columns.path} has no valid split",
            expected=f"{', '.join(filter(None, _PARTS))}, or nothing",
            found=f"{', '.join(map(repr, words[:5]))} in {len(odd):,} rows (lines {lines}"
            f"{', ...' if len(odd) > 10 else ''})",
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
