"""The rows of the label table: their labels, their files, and what is left out."""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cxrbench import HEADINGS, Columns, DataError, Fault, LabelOptions, image_stem, read_table
from cxrbench.builtin._csv import agreeing_rows, usable_rows
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.radiograph import Radiograph

if TYPE_CHECKING:
    import numpy as np

    from cxrbench.builtin._dicom.scan import Scan


IMAGE_COLUMNS = (
    *("image", "image_id", "Image Index", "file", "filename", *HEADINGS["image"]),
    *("SOPInstanceUID", "SOP Instance UID"),
)


@dataclass(frozen=True, eq=False)
class LabelRows:
    """``images`` (N) as the table writes them, ``values`` (N, L) float32 1, 0 or NaN, and notes.

    ``patients`` (N) are the cells of the column of patients, None if the table has none.
    ``refused`` are the images of rows with ``faults``, which are none of these.
    """

    names: tuple[str, ...]
    images: tuple[str, ...]
    values: np.ndarray
    patients: tuple[str, ...] | None
    notes: tuple[str, ...]
    no_finding: str | None = None
    refused: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def read_labels(
    path: Path, image: str, patient: str, options: LabelOptions, *, without_faults: bool = False
) -> LabelRows:
    """Read and check the table.

    ``image`` and ``patient`` are its columns of images and patients, ``""`` for the usual names.
    With ``without_faults``, rows that cannot be used are left out, and become faults.

    Raises
    ------
    DataError : it cannot be read, a column is missing, a cell is no label, or rows of one image
        disagree.
    """
    misfits: list[DataError] | None = [] if without_faults else None
    with _quoting_nothing():
        table = read_table(path, misfits=misfits)
        headings: dict[str, tuple[str, ...]] = {"image": (image,) if image else IMAGE_COLUMNS}
        if not table.places(headings):
            raise table.missing_column(headings["image"], "name it: image=COLUMN")
        usual = [name for names in HEADINGS.values() for name in names]
        patients = {"patient": (patient,) if patient else HEADINGS["patient"]}
        if table.places(patients):
            headings |= patients
        elif patient:
            raise table.missing_column((patient,))
        headings |= options.columns(table, (image, patient, *IMAGE_COLUMNS, *usual))
        columns = table.columns(headings)
        faults = [Fault("cannot-load", "", f"{e.problem}: {e.expected}") for e in misfits or ()]
        named = columns.cells["image"]
        if without_faults:
            columns, more = _sound_rows(columns, options)
            faults += more
        used = set(columns.cells["image"])
        images = [text.replace("\\", "/") for text in columns.require("image")]
        columns = options.join_rows(columns, images)
        labels = options.read(columns)
    images = [text.replace("\\", "/") for text in columns.cells["image"]]
    cells = columns.cells.get("patient")
    return LabelRows(
        names=labels.names,
        images=tuple(images),
        values=labels.values,
        patients=None if cells is None else tuple(text.strip() for text in cells),
        notes=(*columns.notes, *labels.notes),
        no_finding=labels.no_finding,
        refused=tuple(text.replace("\\", "/") for text in named if text and text not in used),
        faults=tuple(faults),
    )


def _sound_rows(columns: Columns, options: LabelOptions) -> tuple[Columns, list[Fault]]:
    columns, faults = usable_rows(columns, options, quoting=False)
    ids = [text.replace("\\", "/") for text in columns.cells["image"]]
    columns, _, more = agreeing_rows(columns, ids, options, quoting=False)
    return columns, faults + more


@contextmanager
def _quoting_nothing() -> Iterator[None]:
    """Tell an error without what was found in the table; what the system found is no secret."""
    try:
        yield
    except DataError as error:
        unread = isinstance(error.__cause__, OSError | EOFError | csv.Error)
        raise DataError(
            error.problem,
            expected=error.expected,
            found=error.found if unread else "not shown, since it may identify a patient",
            fix=error.fix,
        ) from None


NO_FILE = "the table has a row, but there is no file that can be used"
NO_ROW = "there is a file, but no row in the table"
NO_PATIENT = "has no Patient ID: a split could leak; patient=COLUMN names a column of the table"
NO_PATIENT_CELL = "the table does not name its patient: a split could leak"
SEVERAL_FILES = "several files fit one row of the table; name them by path or SOP Instance UID"
SEVERAL_ROWS = "several rows of the table fit this file"


@dataclass(frozen=True)
class RowMatch:
    """Pairs of (file, row), sorted; files and rows that are in none, with the reason.

    ``absent`` is how many of these rows can have no file at all: more rows than rejected files,
    which may be named by the SOP Instance UID in them.
    """

    pairs: tuple[tuple[int, int], ...]
    files: tuple[tuple[int, str], ...]
    rows: tuple[tuple[int, str], ...]
    absent: int


def match(
    images: Sequence[str],
    refused: Sequence[str],
    radiographs: Sequence[tuple[str, Radiograph]],
    rejected: Sequence[str],
    key: Key,
) -> RowMatch:
    """Give each row of the table its file.

    A row means the files with this SOP Instance UID, else with this path below the folder, else
    with this name, else with this name without extension. A row whose file is among the paths
    ``rejected`` is not listed again; nor is a file of the images ``refused``.
    """
    places = _places(radiographs)
    candidates = [_candidates(image, places, key) for image in images]
    told = {file for image in refused for file in _candidates(image, places, key)}
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, files in enumerate(candidates):
        for file in files:
            rows_of[file].append(row)
    pairs, rest = [], []
    for file in range(len(radiographs)):
        rows = rows_of[file]
        if not rows:
            rest += [] if file in told else [(file, NO_ROW)]
        elif len(rows) > 1:
            rest.append((file, SEVERAL_ROWS))
        elif len(candidates[rows[0]]) > 1:
            rest.append((file, SEVERAL_FILES))
        else:
            pairs.append((file, rows[0]))
    known = {name for path in rejected for name in _names(path)}
    named = {name for image in images for name in _names(image)}
    unnamed = sum(named.isdisjoint(_names(path)) for path in rejected)
    lost = [
        (row, NO_FILE)
        for row, files in enumerate(candidates)
        if not files and known.isdisjoint(_names(images[row]))
    ]
    return RowMatch(tuple(pairs), tuple(rest), tuple(lost), max(0, len(lost) - unnamed))


_ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
"""What is no part of a file's name; names may have dots, and no ending: UIDs are such names."""


def _names(path: str) -> tuple[str, str, str]:
    """What can stand for a file, the most exact first."""
    pure = PurePosixPath(path)
    ending = pure.suffix if pure.suffix.lower() in _ENDINGS else ""
    return str(pure), pure.name, image_stem(pure.name.removesuffix(ending))


def without_unknown_patients(
    matched: RowMatch,
    radiographs: Sequence[tuple[str, Radiograph]],
    rows: LabelRows,
    key: Key,
    *,
    by_table: bool,
) -> tuple[RowMatch, Mapping[int, str], tuple[str, ...]]:
    """Pairs whose patient is known, the patient of each file as a pseudonym, and a note.

    Patients are those of the headers; those of the table where ``by_table`` asks for it, or a file
    has none and the table has a column of patients. They are never mixed: one patient would be two.
    """
    lacking = [file for file, _ in matched.pairs if not radiographs[file][1].patient]
    notes: tuple[str, ...] = ()
    reason = NO_PATIENT
    patients = {file: radiographs[file][1].patient for file, _ in matched.pairs}
    if rows.patients is not None and (by_table or lacking):
        cells = rows.patients
        reason = NO_PATIENT_CELL
        patients = {
            file: key.pseudonym("patient", cells[row]) if cells[row] else ""
            for file, row in matched.pairs
        }
        if not by_table:
            notes = (
                f"{len(lacking):,} files have no Patient ID: all patients are those of the table",
            )
    pairs = tuple(pair for pair in matched.pairs if patients[pair[0]])
    lost = tuple((file, reason) for file, _ in matched.pairs if not patients[file])
    return replace(matched, pairs=pairs, files=(*matched.files, *lost)), patients, notes


def _places(radiographs: Sequence[tuple[str, Radiograph]]) -> list[defaultdict[str, list[int]]]:
    """Files by UID, path, name, and name without extension."""
    places: list[defaultdict[str, list[int]]] = [defaultdict(list) for _ in range(4)]
    for file, (path, radiograph) in enumerate(radiographs):
        for place, name in zip(places, (radiograph.image, *_names(path)), strict=True):
            place[name].append(file)
    return places


def _candidates(image: str, places: Sequence[defaultdict[str, list[int]]], key: Key) -> list[int]:
    for place, name in zip(places, (key.pseudonym("image", image), *_names(image)), strict=True):
        if files := place.get(name):
            return files
    return []


_SHOWN = 12


def counted_reasons(reasons: list[str]) -> tuple[str, ...]:
    """Lines that count the reasons, the most frequent first; none where nothing was left out."""
    if not reasons:
        return ()
    ranked = Counter(reasons).most_common()
    lines = [f"  {count:,}: {reason}" for reason, count in ranked[:_SHOWN]]
    if len(ranked) > _SHOWN:
        lines.append(f"  and {len(ranked) - _SHOWN} more reasons")
    return (f"excluded {len(reasons):,} files or rows (each is in excluded.csv):", *lines)


def nothing_to_use(scan: Scan, matched: RowMatch, rows: int) -> DataError:
    """The error for an archive without a usable file."""
    reasons = [reason for _, reason in (*scan.rejected, *matched.files)]
    return DataError(
        "dicom: no file is a frontal chest radiograph with a row in the table",
        expected="files that the table names by path, name or SOP Instance UID",
        found=f"{len(scan.radiographs):,} radiographs, {rows:,} rows; "
        + "; ".join(line.strip() for line in counted_reasons(reasons)[1:]),
        fix=_advice(reasons),
    )


def _advice(reasons: Sequence[str]) -> str:
    """What helps against the reasons that there are."""
    advice = ["check path and table"]
    if any(reason.startswith(("has no modality", "does not say")) for reason in reasons):
        advice.append("unknown=accept if all files are frontal chest radiographs")
    if NO_PATIENT in reasons:
        advice.append("patient=COLUMN for a column of patients in the table")
    return "; ".join(advice)


_CROSSWALK = ("id", "file", "reason")


def _is_crosswalk(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    first = f"{','.join(_CROSSWALK)}\n".encode()
    with path.open("rb") as file:
        return file.read(len(first)) == first


def write_crosswalk(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write (id, file, reason or "") as CSV, whole or not at all, for its owner alone (mode 600).

    Only a crosswalk is replaced.

    Raises
    ------
    DataError : there can be no such file, or another file has this name.
    """
    if os.path.lexists(path) and not _is_crosswalk(path):
        raise DataError(
            f"{path} is not a crosswalk, so it is not replaced",
            expected="a new file, or a crosswalk that cxrbench wrote",
            found="a link" if path.is_symlink() else "another file",
            fix="choose another crosswalk=FILE",
        )
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(_CROSSWALK)
                writer.writerows(rows)
            os.replace(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
    except OSError as error:
        raise DataError(
            f"the crosswalk {path} cannot be written",
            expected="the name of a file in a folder that exists",
            found=error.strerror or str(error),
            fix="choose another crosswalk=FILE",
        ) from error
