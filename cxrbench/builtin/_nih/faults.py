"""Every row of NIH's table that `labels_of` would refuse, instead of the first alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from cxrbench import Columns, DataError, Fault
from cxrbench.builtin._nih.table import (
    AGREEING,
    LABEL_NAMES,
    NIH_STEM,
    image_ids_of,
    label_columns,
    plain_number,
)

Refusal = tuple[Sequence[int], Fault]
"""Rows that cannot be used, and why."""


def without_faults(columns: Columns) -> tuple[Columns, tuple[Fault, ...]]:
    """The columns without the rows that cannot be used, and what is wrong with them.

    Ages that cannot be are told too; their rows stay, with an unknown age.
    """
    image_ids = image_ids_of(columns)
    refused = [*_labels(columns, image_ids), *_blank_patients(columns, image_ids)]
    rows = _left(range(len(columns)), refused)
    refused += [
        *_conflicts(columns, image_ids, rows),
        *_divided_patients(columns, image_ids, rows),
    ]
    sound = columns.take(_left(rows, refused))
    return sound, (*(fault for _, fault in refused), *_ages(columns, image_ids))


def _left(rows: Iterable[int], refused: Sequence[Refusal]) -> list[int]:
    bad = {row for some, _ in refused for row in some}
    return [row for row in rows if row not in bad]


def _labels(columns: Columns, image_ids: Sequence[str]) -> Iterator[Refusal]:
    column = columns.cells["labels"]
    checks = {text: _label_check(text, columns) for text in dict.fromkeys(column)}
    for row, text in enumerate(column):
        check = checks[text]
        if check is not None:
            yield [row], Fault(check, image_ids[row], f"{text!r} in line {columns.lines[row]}")


def _label_check(text: str, columns: Columns) -> str | None:
    try:
        label_columns(text, columns)
    except DataError:
        known = all(name.strip() in LABEL_NAMES for name in text.split("|"))
        return "no-finding-and-finding" if known else "unknown-label"
    return None


def _blank_patients(columns: Columns, image_ids: Sequence[str]) -> Iterator[Refusal]:
    for row, patient in enumerate(columns.cells.get("patient", ())):
        if not patient:
            found = f"no {columns.titles['patient']} in line {columns.lines[row]}"
            yield [row], Fault("unclear-patient", image_ids[row], found)


def _conflicts(
    columns: Columns, image_ids: Sequence[str], rows: Sequence[int]
) -> Iterator[Refusal]:
    for same in _repeated(rows, image_ids):
        image_id = image_ids[same[0]]
        try:
            columns.take(same).without_repeats([image_id] * len(same), AGREEING)
        except DataError as error:
            yield same, Fault("contradicting-rows", image_id, error.found or str(error))


def _divided_patients(
    columns: Columns, image_ids: Sequence[str], rows: Sequence[int]
) -> Iterator[Refusal]:
    """NIH's file name begins with the patient; two ids for one such patient would leak."""
    if "patient" not in columns.cells:
        return
    patients = [plain_number(text) for text in columns.cells["patient"]]
    matches = [NIH_STEM.fullmatch(name) for name in image_ids]
    stems = [match[1] if match else "" for match in matches]
    for same in _repeated([row for row in rows if stems[row]], stems):
        ids = sorted({patients[row] for row in same})
        if len(ids) > 1:
            found = f"Patient ID {' and '.join(ids)} for images that begin with {stems[same[0]]}"
            yield same, Fault("unclear-patient", image_ids[same[0]], found)


def _repeated(rows: Sequence[int], keys: Sequence[Hashable]) -> list[list[int]]:
    """The rows that share a key with another, together."""
    groups = defaultdict(list)
    for row in rows:
        groups[keys[row]].append(row)
    return [same for same in groups.values() if len(same) > 1]


def _ages(columns: Columns, image_ids: Sequence[str]) -> Iterator[Fault]:
    ages, _ = columns.ages()
    for row, text in enumerate(columns.cells.get("age", ())):
        if text and ages[row] != ages[row]:
            found = f"{text!r} in line {columns.lines[row]}"
            yield Fault("impossible-age", image_ids[row], found)
