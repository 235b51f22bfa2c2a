"""NIH's label table (``Data_Entry_2017.csv`` and its kin), read and checked row by row."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench import DataError
from cxrbench.builtin._nih.files import Rows, find_file, read_rows

if TYPE_CHECKING:
    import numpy as np

NO_FINDING = "No Finding"
LABEL_NAMES = (
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
    NO_FINDING,
)
TABLE_NAMES = ("Ground_Truth.csv", "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
EXTENSIONS = (".png", ".jpg", ".jpeg")
MAX_AGE = 120.0

_COLUMNS = {
    "image": ("Image Index",),
    "labels": ("Finding Labels",),
    "patient": ("Patient ID",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "view": ("View Position",),
}
_REQUIRED = ("image", "labels")
NIH_STEM = re.compile(r"([0-9]{8})_[0-9]{3,}")
"""How NIH names images: the patient, and which of the patient's images it is."""

_AGE = re.compile(r"([0-9]+(?:\.[0-9]*)?)\s*([YMWD]?)", re.IGNORECASE)
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}
_VIEWS = {"PA": "PA", "AP": "AP"}


@dataclass(frozen=True, eq=False)
class Table:
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


@dataclass(frozen=True)
class Cells:
    """The table's columns as text; None for an optional column that is not there."""

    path: Path
    lines: list[int]
    file_names: list[str]
    image_ids: list[str]
    labels: list[str]
    patient: list[str] | None
    age: list[str] | None
    sex: list[str] | None
    view: list[str] | None


def find_table(folder: Path) -> Path | None:
    """NIH's table in this folder, plain or ``.gz``; the first of `TABLE_NAMES` that is there."""
    return find_file(folder, TABLE_NAMES)


def image_stem(name: str) -> str:
    """A file's name without folder and without the extension of an image.

    >>> image_stem("images_001/images/00000013_005.PNG")
    '00000013_005'
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, extension = base.rpartition(".")
    return stem if dot + extension.lower() in EXTENSIONS else base


def read_table(path: Path) -> Table:
    """Read and check the whole table.

    Rows that repeat an image and agree are dropped and counted in ``notes``. Numeric patient ids
    lose leading zeros, so that they are the same from the column and from NIH's file names.

    Raises
    ------
    DataError : a column is missing, a text is no label of NIH's, an image has two rows that
        disagree, a patient is blank, and whatever `read_rows` finds.
    """
    return table_of(*read_cells(path))


def read_cells(path: Path) -> tuple[Cells, tuple[str, ...]]:
    """The table as text, nothing of it checked but the columns, and notes on how it was read."""
    rows = read_rows(path)
    return _pick_columns(rows, path), rows.notes


def table_of(cells: Cells, notes: Sequence[str]) -> Table:
    """Check the cells and turn them into a table; see `read_table`."""
    cells, repeated = _without_repeats(cells)
    ages, age_notes = _ages(cells.age, len(cells.lines))
    sexes, sex_notes = _coded(cells.sex, _SEXES, "sexes", len(cells.lines))
    views, view_notes = _coded(cells.view, _VIEWS, "views", len(cells.lines))
    told = [*notes, *age_notes, *sex_notes, *view_notes]
    if repeated:
        told.append(f"{cells.path.name}: dropped {repeated:,} rows that repeat another row")
    return Table(
        file_names=tuple(cells.file_names),
        image_ids=tuple(cells.image_ids),
        patient_ids=_patients(cells),
        labels=_labels(cells),
        ages=ages,
        sexes=sexes,
        views=views,
        notes=tuple(told),
    )


def _pick_columns(rows: Rows, path: Path) -> Cells:
    places = _places(rows.header, path)
    lines, picked = [], []
    for line, row in rows.rows:
        lines.append(line)
        picked.append(tuple([row[place].strip() for place in places.values()]))
    if not lines:
        raise DataError(
            f"{path} has a header and nothing else.",
            expected="one row per image below the header",
            found=f"the columns {', '.join(rows.header)}, 0 rows",
            fix="download or export the table again",
        )
    found = dict(zip(places, map(list, zip(*picked, strict=True)), strict=True))
    _refuse_blank(found["image"], lines, "Image Index", path)
    return Cells(
        path=path,
        lines=lines,
        file_names=found["image"],
        image_ids=[image_stem(name) for name in found["image"]],
        labels=found["labels"],
        patient=found.get("patient"),
        age=found.get("age"),
        sex=found.get("sex"),
        view=found.get("view"),
    )


def _places(header: Sequence[str], path: Path) -> dict[str, int]:
    lowered = [name.lower() for name in header]
    found: dict[str, int] = {}
    for key, names in _COLUMNS.items():
        places = [i for name in names for i, text in enumerate(lowered) if text == name.lower()]
        if not places and key in _REQUIRED:
            raise _missing_column(names[0], header, path)
        if len(places) > 1:
            raise _column_twice(names, header, places, path)
        if places:
            found[key] = places[0]
    return found


def _without_repeats(cells: Cells) -> tuple[Cells, int]:
    if len(set(cells.image_ids)) == len(cells.image_ids):
        return cells, 0
    first: dict[str, int] = {}
    for row, image_id in enumerate(cells.image_ids):
        refuse_conflict(cells, first.setdefault(image_id, row), row)
    keep = list(first.values())

    return take_rows(cells, keep), len(cells.lines) - len(keep)


def take_rows(cells: Cells, rows: Sequence[int]) -> Cells:
    """The cells of these rows, in this order."""
    picked: dict[str, Any] = {
        name: [column[row] for row in rows]
        for name, column in vars(cells).items()
        if isinstance(column, list)
    }
    return replace(cells, **picked)


def refuse_conflict(cells: Cells, first: int, again: int) -> None:
    """Raise `DataError` where two rows for one image disagree."""
    if first == again:
        return
    columns: list[tuple[str, list[str] | None]] = [
        ("Finding Labels", cells.labels),
        ("Patient ID", cells.patient),
        ("Patient Age", cells.age),
        ("Patient Gender", cells.sex),
        ("View Position", cells.view),
    ]
    for title, column in columns:
        if column is None:
            continue
        one, other = column[first], column[again]
        if set(one.split("|")) != set(other.split("|")):
            raise DataError(
                f"{cells.path} has two rows for the image {cells.image_ids[first]} that disagree.",
                expected="one row per image, or rows that say the same",
                found=f"{title} {one!r} in line {cells.lines[first]}, "
                f"{other!r} in line {cells.lines[again]}",
                fix="delete the row that is wrong",
            )


def _labels(cells: Cells) -> np.ndarray:
    import numpy as np

    codes: dict[str, int] = {}
    rows = [codes.setdefault(text, len(codes)) for text in cells.labels]
    vectors = np.zeros((len(codes), len(LABEL_NAMES)), dtype=np.float32)
    for text, code in codes.items():
        vectors[code, label_columns(text, cells)] = 1
    return vectors[rows]


def label_columns(text: str, cells: Cells) -> list[int]:
    """The columns of a row's Finding Labels; raise `DataError` for what they must not be."""
    names = [name.strip() for name in text.split("|")]
    unknown = next((name for name in names if name not in LABEL_NAMES), None)
    if unknown is None and not (NO_FINDING in names and set(names) != {NO_FINDING}):
        return [LABEL_NAMES.index(name) for name in names]
    line = cells.lines[cells.labels.index(text)]
    if unknown is None:
        raise DataError(
            f"Line {line} of {cells.path} contradicts itself.",
            expected=f"either {NO_FINDING!r} or findings",
            found=repr(text),
            fix="correct the Finding Labels of that row",
        )
    raise DataError(
        f"Line {line} of {cells.path} has a label that is not one of NIH's.",
        expected=f"one or more of {', '.join(LABEL_NAMES)}, joined by |",
        found=f"{unknown!r} in {text!r}",
        fix=_nearest(unknown),
    )


def _nearest(text: str) -> str:
    by_lower = {name.lower(): name for name in LABEL_NAMES}
    close = difflib.get_close_matches(text.lower(), by_lower, n=1)
    return f"did you mean {by_lower[close[0]]!r}?" if close else "correct that row's Finding Labels"


def _patients(cells: Cells) -> tuple[str, ...]:
    from_names = [match and match[1] for match in map(NIH_STEM.fullmatch, cells.image_ids)]
    if cells.patient is None:
        return _patients_from_names(cells, from_names)
    _refuse_blank(cells.patient, cells.lines, "Patient ID", cells.path)
    patients = tuple(plain_number(text) for text in cells.patient)
    _refuse_divided_patient(cells, from_names, patients)
    return patients


def _patients_from_names(cells: Cells, from_names: Sequence[str | None]) -> tuple[str, ...]:
    odd = next((row for row, name in enumerate(from_names) if name is None), None)
    if odd is not None:
        raise DataError(
            f"{cells.path} does not say whose image each is.",
            expected="a column 'Patient ID', or images named as NIH does (00000013_005.png)",
            found=f"no such column, and {cells.file_names[odd]!r} in line {cells.lines[odd]}",
            fix="add the column: without patients, a split would leak",
        )
    return tuple(plain_number(name or "") for name in from_names)


def _refuse_divided_patient(
    cells: Cells, from_names: Sequence[str | None], patients: Sequence[str]
) -> None:
    """NIH's file name begins with the patient; two ids for one such patient would leak."""
    seen: dict[str, int] = {}
    for row, name in enumerate(from_names):
        first = row if name is None else seen.setdefault(name, row)
        if patients[first] != patients[row]:
            raise DataError(
                f"{cells.path} gives one NIH patient two ids.",
                expected="one Patient ID for all images whose names begin alike",
                found=f"{patients[first]} for {cells.file_names[first]} (line "
                f"{cells.lines[first]}), {patients[row]} for {cells.file_names[row]} (line "
                f"{cells.lines[row]})",
                fix="restore the Patient ID column from NIH's table: such a patient could be in "
                "two parts of a split",
            )


def plain_number(text: str) -> str:
    """Without leading zeros and ``.0``, so that a number has one spelling."""
    whole = text.removesuffix(".0")
    return whole.lstrip("0") or "0" if whole.isascii() and whole.isdigit() else text


def _refuse_blank(column: list[str], lines: list[int], title: str, path: Path) -> None:
    if "" in column:
        row = column.index("")
        raise DataError(
            f"Line {lines[row]} of {path} has no {title}.",
            expected=f"a {title} in every row",
            found=f"{column.count(''):,} rows without",
            fix="fill in or delete those rows (the file may have been cut off there)",
        )


def _ages(column: list[str] | None, rows: int) -> tuple[np.ndarray, list[str]]:
    import numpy as np

    if column is None:
        return np.full(rows, np.nan, dtype=np.float32), []
    counts = Counter(column)
    years = {text: years_of(text) for text in counts}
    impossible = {text for text, age in years.items() if age > MAX_AGE}
    unread = {text for text, age in years.items() if text and age != age}
    notes = [
        f"took {sum(counts[text] for text in texts):,} {what} as unknown ({_some(texts)})"
        for texts, what in (
            (impossible, f"ages above {MAX_AGE:.0f} years"),
            (unread, "ages that cannot be read"),
        )
        if texts
    ]
    known = {text: np.nan if text in impossible else age for text, age in years.items()}
    return np.array([known[text] for text in column], dtype=np.float32), notes


def years_of(text: str) -> float:
    """Years from ``58``, ``058Y`` or ``006M``; NaN for what is no age."""
    match = _AGE.fullmatch(text)
    return float(match[1]) / _UNITS_PER_YEAR[match[2].upper()] if match else float("nan")


def _coded(
    column: list[str] | None, codes: dict[str, str], what: str, rows: int
) -> tuple[tuple[str, ...], list[str]]:
    if column is None:
        return ("",) * rows, []
    counts = Counter(column)
    odd = {text for text in counts if text and text.upper() not in codes}
    notes = [f"took {sum(counts[text] for text in odd):,} {what} as unknown ({_some(odd)})"] * bool(
        odd
    )
    return tuple(codes.get(text.upper(), "") for text in column), notes


def _some(texts: set[str], most: int = 5) -> str:
    shown = ", ".join(repr(text) for text in sorted(texts)[:most])
    return f"{shown}, ..." if len(texts) > most else shown


def _missing_column(name: str, header: Sequence[str], path: Path) -> DataError:
    near = difflib.get_close_matches(name, header, n=1)
    hint = f" (is it {near[0]!r}?)" if near else ""
    return DataError(
        f"{path} has no column {name!r}.",
        expected="the columns 'Image Index' and 'Finding Labels', better also 'Patient ID'",
        found=f"the columns {', '.join(map(repr, header))}",
        fix=f"name the column {name!r}{hint}, or use NIH's own table",
    )


def _column_twice(
    names: Sequence[str], header: Sequence[str], places: list[int], path: Path
) -> DataError:
    return DataError(
        f"{path} has two columns for {names[0]!r}.",
        expected="one",
        found=f"{', '.join(repr(header[i]) for i in places)}",
        fix="delete or rename the one that is not meant",
    )
