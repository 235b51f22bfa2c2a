"""Whose image each row is, and which published part it is in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cxrbench import Columns, DataError

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
    found = [(m[1] if m.re.groups else m[0]) or "" if m else "" for m in matches]
    if "" in found:
        row = found.index("")
        raise DataError(
            f"Line {columns.lines[row]} of {columns.path} has no patient.",
            expected=f"what patient_pattern={pattern} finds in {columns.titles['patient']}",
            found=f"{cells[row][:100]!r}, and {found.count('') - 1:,} more",
            fix="correct the pattern or the cells: without patients, a split would leak",
        )
    return found


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
            f"Line {columns.lines[odd]} of {columns.path} is in no part of the split.",
            expected=f"{', '.join(filter(None, _PARTS))}, or nothing",
            found=repr(columns.cells["split"][odd][:100]),
            fix=f"correct the column {columns.titles['split']!r}, or name another: "
            "--data csv:path=…,split=COLUMN",
        )
    return tuple(_PARTS[text] for text in cells)


def no_patients(columns: Columns) -> DataError:
    """The error for a table that does not say whose images are whose."""
    return DataError(
        f"{columns.path} does not say whose image each is.",
        expected="a column called patient, Patient ID, patient_id or subject_id, or the option "
        "patient=COLUMN",
        found="no such column",
        fix="name it: --data csv:path=…,patient=COLUMN (with patient_pattern=REGEX if the patient "
        "is a part of its text, such as a path); or patients=unknown, where nobody knows",
    )
