"""Every row of NIH's table that `table_of` would refuse, instead of the first alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from cxrbench import DataError, Fault
from cxrbench.builtin._nih.table import (
    LABEL_NAMES,
    MAX_AGE,
    NIH_STEM,
    Cells,
    label_columns,
    plain_number,
    refuse_conflict,
    take_rows,
    years_of,
)

Refusal = tuple[Sequence[int], Fault]
"""Rows that cannot be used, and why."""


def without_faults(cells: Cells) -> tuple[Cells, tuple[Fault, ...]]:
    """The cells without the rows that cannot be used, and what is wrong with them.

    Ages that cannot be are told too; their rows stay, with an unknown age.
    """
    refused = [*_labels(cells), *_blank_patients(cells)]
    rows = _left(range(len(cells.lines)), refused)
    refused += [*_conflicts(cells, rows), *_divided_patients(cells, rows)]
    sound = take_rows(cells, _left(rows, refused))
    return sound, (*(fault for _, fault in refused), *_ages(cells))


def _left(rows: Iterable[int], refused: Sequence[Refusal]) -> list[int]:
    bad = {row for some, _ in refused for row in some}
    return [row for row in rows if row not in bad]


def _fault(cells: Cells, row: int, check: str, found: str) -> Fault:
    return Fault(check, cells.image_ids[row], f"{found} in line {cells.lines[row]}")


def _labels(cells: Cells) -> Iterator[Refusal]:
    checks = {text: _label_check(text, cells) for text in dict.fromkeys(cells.labels)}
    for row, text in enumerate(cells.labels):
        check = checks[text]
        if check is not None:
            yield [row], _fault(cells, row, check, repr(text))


def _label_check(text: str, cells: Cells) -> str | None:
    try:
        label_columns(text, cells)
    except DataError:
        known = all(name.strip() in LABEL_NAMES for name in text.split("|"))
        return "no-finding-and-finding" if known else "unknown-label"
    return None


def _blank_patients(cells: Cells) -> Iterator[Refusal]:
    for row, patient in enumerate(cells.patient or ()):
        if not patient:
            yield [row], _fault(cells, row, "unclear-patient", "no Patient ID")


def _conflicts(cells: Cells, rows: Sequence[int]) -> Iterator[Refusal]:
    for same in _grouped(rows, cells.image_ids):
        try:
            for again in same[1:]:
                refuse_conflict(cells, same[0], again)
        except DataError as error:
            found = next(line for line in str(error).splitlines() if "found: " in line)
            image_id = cells.image_ids[same[0]]
            yield same, Fault("contradicting-rows", image_id, found.partition("found: ")[2])


def _divided_patients(cells: Cells, rows: Sequence[int]) -> Iterator[Refusal]:
    """NIH's file name begins with the patient; two ids for one such patient would leak."""
    if cells.patient is None:
        return
    patients = [plain_number(text) for text in cells.patient]
    matches = [NIH_STEM.fullmatch(name) for name in cells.image_ids]
    named = [row for row in rows if matches[row]]
    stems = [match[1] if match else "" for match in matches]
    for same in _grouped(named, stems):
        ids = sorted({patients[row] for row in same})
        if len(ids) > 1:
            found = f"Patient ID {' and '.join(ids)} for images that begin with {stems[same[0]]}"
            yield same, Fault("unclear-patient", cells.image_ids[same[0]], found)


def _grouped(rows: Sequence[int], keys: Sequence[Hashable]) -> list[list[int]]:
    groups = defaultdict(list)
    for row in rows:
        groups[keys[row]].append(row)
    return list(groups.values())


def _ages(cells: Cells) -> Iterator[Fault]:
    ages = {text: years_of(text) for text in dict.fromkeys(cells.age or ())}
    for row, text in enumerate(cells.age or ()):
        if ages[text] > MAX_AGE:
            yield _fault(cells, row, "impossible-age", repr(text))
        elif text and ages[text] != ages[text]:
            yield _fault(cells, row, "impossible-age", f"{text!r}, which is no age,")
