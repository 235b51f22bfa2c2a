"""NIH's table of labels: its names and columns, read and checked."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench import Columns, DataError, Fault, find_file, image_stem, read_table

if TYPE_CHECKING:
    import numpy as np


FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""NIH's names; MedMNIST calls Pleural_Thickening "pleural"."""


NO_FINDING = "No Finding"
LABEL_NAMES = (*FINDINGS, NO_FINDING)
TABLE_NAMES = (
    *("Ground_Truth.csv", "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"),
    "sample_labels.csv",
)
"""The last is that of Kaggle's sample."""

_COLUMNS = {
    "image": ("Image Index",),
    "labels": ("Finding Labels",),
    "patient": ("Patient ID",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "view": ("View Position",),
}
_REQUIRED = ("image", "labels")
AGREEING = ("labels", "patient", "age", "sex", "view")
"""The columns in which all rows of an image have to agree."""

NIH_STEM = re.compile(r"([0-9]{8})_[0-9]{3,}")
"""How NIH names images: the patient, and which of the patient's images it is."""


@dataclass(frozen=True, eq=False)
class NIHTable:
    """One row per image, in the file's order; the fields are those of a `Cohort`.

    ``file_names`` are the images' names as the table writes them, ``image_ids`` the same without
    folder and extension.
    """

    file_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    labels: np.ndarray
    ages: np.ndarray
    sexes: tuple[str, ...]
    views: tuple[str, ...]
    notes: tuple[str, ...]


def find_table(folder: Path) -> Path | None:
    """NIH's table in this folder, plain or ``.gz``; the first of `TABLE_NAMES` that is there."""
    return find_file(folder, TABLE_NAMES)


def is_nihs(path: Path) -> bool:
    """Whether a file is a table with NIH's columns, not only called so."""
    try:
        places = read_table(path).places(_COLUMNS)
    except DataError:
        return False
    return all(key in places for key in _REQUIRED)


def read_labels(path: Path) -> NIHTable:
    """Read and check the whole table.

    Rows that repeat an image and agree are dropped and counted in ``notes``. Numeric patient ids
    lose leading zeros, so that they are the same from the column and from NIH's file names.

    Raises
    ------
    DataError : a column is missing, a text is no label of NIH's, an image has two rows that
        disagree, a patient is blank, and whatever `cxrbench.read_table` finds.
    """
    return labels_of(read_columns(path))


def read_columns(path: Path) -> Columns:
    """The table as text, nothing of it checked but that each row names an image."""
    columns = read_table(path).columns(_COLUMNS, required=_REQUIRED)
    columns.require("image")
    return columns


def image_ids_of(columns: Columns) -> list[str]:
    """The image of each row, by its name without folder and extension."""
    return [image_stem(name) for name in columns.cells["image"]]


def labels_of(columns: Columns) -> NIHTable:
    """Check the columns and turn them into a table, see `read_labels`."""
    stems = image_ids_of(columns)
    columns = columns.without_repeats(stems, AGREEING)
    image_ids = tuple(dict.fromkeys(stems))
    ages, age_notes = columns.ages()
    sexes, sex_notes = columns.sexes()
    views, view_notes = columns.views()
    return NIHTable(
        file_names=tuple(columns.cells["image"]),
        image_ids=image_ids,
        patient_ids=_patients(columns, image_ids),
        labels=_labels(columns),
        ages=ages,
        sexes=sexes,
        views=views,
        notes=(*columns.notes, *age_notes, *sex_notes, *view_notes),
    )


def _labels(columns: Columns) -> np.ndarray:
    import numpy as np

    codes: dict[str, int] = {}
    rows = [codes.setdefault(text, len(codes)) for text in columns.cells["labels"]]
    vectors = np.zeros((len(codes), len(LABEL_NAMES)), dtype=np.float32)
    for text, code in codes.items():
        vectors[code, label_columns(text, columns)] = 1
    return vectors[rows]


def label_columns(text: str, columns: Columns) -> list[int]:
    """The places of a row's Finding Labels; raise `DataError` for what they must not be."""
    names = _names(text)
    check = _label_check(names)
    if check is None:
        return [LABEL_NAMES.index(name) for name in names]
    line = columns.lines[columns.cells["labels"].index(text)]
    if check == "no-finding-and-finding":
        raise DataError(
            f"Line {line} of {columns.path} contradicts itself",
            expected=f"either {NO_FINDING!r} or findings",
            found=repr(text[:100]),
            fix="correct the Finding Labels of that row",
        )
    unknown = next(name for name in names if name not in LABEL_NAMES)
    raise DataError(
        f"Line {line} of {columns.path} has a label that is not one of NIH's",
        expected=f"one or more of {', '.join(LABEL_NAMES)}, joined by |",
        found=f"{unknown[:100]!r} in {text[:100]!r}",
        fix=_nearest(unknown),
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split("|")]


def _label_check(names: Sequence[str]) -> str | None:
    """The check that a row with these labels fails."""
    if any(name not in LABEL_NAMES for name in names):
        return "unknown-label"
    return "no-finding-and-finding" if NO_FINDING in names and set(names) != {NO_FINDING} else None


def _nearest(text: str) -> str:
    by_lower = {name.lower(): name for name in LABEL_NAMES}
    close = difflib.get_close_matches(text.lower(), by_lower, n=1)
    return f"did you mean {by_lower[close[0]]!r}?" if close else "correct that row's Finding Labels"


def _patients(columns: Columns, image_ids: Sequence[str]) -> tuple[str, ...]:
    from_names = [match and match[1] for match in map(NIH_STEM.fullmatch, image_ids)]
    if "patient" not in columns.cells:
        return _patients_from_names(columns, from_names)
    patients = tuple(plain_number(text) for text in columns.require("patient"))
    _refuse_divided_patient(columns, from_names, patients)
    return patients


def _patients_from_names(columns: Columns, from_names: Sequence[str | None]) -> tuple[str, ...]:
    odd = next((row for row, name in enumerate(from_names) if name is None), None)
    if odd is not None:
        raise DataError(
            f"{columns.path} does not name the patient of each image",
            expected="a column 'Patient ID', or images named as NIH does (00000013_005.png)",
            found=f"no such column, and {columns.cells['image'][odd]!r} in line "
            f"{columns.lines[odd]}",
            fix="add the column: without patients, a split would leak",
        )
    return tuple(plain_number(name or "") for name in from_names)


def _refuse_divided_patient(
    columns: Columns, from_names: Sequence[str | None], patients: Sequence[str]
) -> None:
    """NIH's file name begins with the patient; two ids for one such patient would leak."""
    seen: dict[str, int] = {}
    for row, name in enumerate(from_names):
        first = row if name is None else seen.setdefault(name, row)
        if patients[first] != patients[row]:
            one, other = (
                f"{patients[r]} for {columns.cells['image'][r]} (line {columns.lines[r]})"
                for r in (first, row)
            )
            raise DataError(
                f"{columns.path} gives one NIH patient two ids",
                expected="one Patient ID for all images whose names begin alike",
                found=f"{one}, {other}",
                fix="restore the Patient ID column from NIH's table: such a patient could be in "
                "two splits",
            )


def plain_number(text: str) -> str:
    """Without leading zeros and ``.0``, so that a number has one spelling."""
    whole = text.removesuffix(".0")
    return whole.lstrip("0") or "0" if whole.isascii() and whole.isdigit() else text


Refusal = tuple[Sequence[int], Fault]
"""Rows that cannot be used, and why."""


def without_faults(columns: Columns) -> tuple[Columns, tuple[Fault, ...]]:
    """The columns without the rows that cannot be used, and what is wrong with them.

    Impossible ages are reported too; their rows stay, with an unknown age.
    """
    image_ids = image_ids_of(columns)
    refused = [*_label_faults(columns, image_ids), *_blank_patients(columns, image_ids)]
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


def _label_faults(columns: Columns, image_ids: Sequence[str]) -> Iterator[Refusal]:
    column = columns.cells["labels"]
    checks = {text: _label_check(_names(text)) for text in set(column)}
    for row, text in enumerate(column):
        check = checks[text]
        if check is not None:
            yield (
                [row],
                Fault(check, image_ids[row], f"{text[:100]!r} in line {columns.lines[row]}"),
            )


def _blank_patients(columns: Columns, image_ids: Sequence[str]) -> Iterator[Refusal]:
    for row, patient in enumerate(columns.cells.get("patient", ())):
        if not patient:
            reason = f"no {columns.titles['patient']} in line {columns.lines[row]}"
            yield [row], Fault("unclear-patient", image_ids[row], reason)


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
            reason = f"Patient ID {' and '.join(ids)} for images that begin with {stems[same[0]]}"
            yield same, Fault("unclear-patient", image_ids[same[0]], reason)


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
            reason = f"{text!r} in line {columns.lines[row]}"
            yield Fault("impossible-age", image_ids[row], reason)
