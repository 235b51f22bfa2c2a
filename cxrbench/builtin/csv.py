"""The dataset ``csv``: any table that names images, their patients and their labels."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from cxrbench import (
    TABLE_SUFFIXES,
    Cohort,
    CxrbenchError,
    DataError,
    Dataset,
    Display,
    Examination,
    Exclusion,
    Fault,
    LabelOptions,
    hookimpl,
    names_in,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrbench import Columns
    from cxrbench.builtin._csv import TableRows, Views

CXRBENCH_API = 1


@dataclass(frozen=True)
class CSV(Dataset):
    """A CSV file with a row for each image, or for each finding and reader of it.

    The options say which column is what.

    ``image`` names the column of paths, which start in the folder ``images`` (relative to the
    table's own, which is the default). ``patient`` names the patients' column; ``patient_pattern``
    is a regular expression that finds the patient in its text; ``patients=unknown`` says that
    nobody knows them. ``view`` may name several columns, joined by ``+``; what is no frontal view
    is left out. ``findings`` names one column with all labels of an image, joined by
    ``separator`` (recognised by default); else ``labels`` names a column for each, joined by ``+``
    (by default all columns that are nothing else). ``uncertain`` is what -1 stands for, ``blank``
    what an empty cell stands for. ``rows`` says what several rows of one image mean, ``reader``
    names the column of readers. ``split`` names the column of published parts, for
    ``--split official``. ``also`` names more tables, joined by ``+``, whose columns of images,
    patients, views and parts are joined by the columns that both tables have. An ``image_id`` is
    the table's own text for the image.
    """

    name: ClassVar[str] = "csv"
    general: ClassVar[bool] = True

    path: str = ""
    also: str = ""
    images: str = ""
    image: str = ""
    patient: str = ""
    patient_pattern: str = ""
    patients: Literal["known", "unknown"] = "known"
    age: str = ""
    sex: str = ""
    view: str = ""
    labels: str = ""
    findings: str = ""
    separator: str = "auto"
    uncertain: Literal["unknown", "ones", "zeros"] = "unknown"
    blank: Literal["unknown", "zeros"] = "unknown"
    rows: Literal["auto", "agree", "any", "majority", "all"] = "auto"
    reader: str = ""
    no_finding: str = "No Finding"
    split: str = ""

    def __post_init__(self) -> None:
        """Raise `CxrbenchError` for options that cannot work."""
        try:
            re.compile(self.patient_pattern)
        except re.error as error:
            raise CxrbenchError(
                f"csv: patient_pattern cannot be {self.patient_pattern!r}",
                expected="a regular expression, such as patient[0-9]+",
                found=str(error),
            ) from error
        self._label_options()
        if self.patients == "unknown" and (self.patient or self.patient_pattern):
            raise CxrbenchError(
                "csv: patients=unknown contradicts patient and patient_pattern",
                expected="one of them",
                fix="leave the others out",
            )

    @classmethod
    def recognise(cls, path: Path) -> CSV | None:
        """This dataset, if the path is a file that is called a table; nothing is read."""
        called_so = path.name.lower().endswith(TABLE_SUFFIXES)
        return cls(path=str(path)) if called_so and path.is_file() else None

    def load(self) -> Cohort:
        """Read the table and find the images.

        Raises
        ------
        DataError : the table cannot be used as the options say, or not one image is there.
        """
        from cxrbench.builtin._csv import NO_IMAGE, nothing_found, views_of

        columns = self._rows().columns
        views = views_of(columns)
        reasons = [a or b for a, b in zip(views.reasons, columns.cells[NO_IMAGE], strict=True)]
        if all(reasons):
            raise nothing_found(columns, self._folder(), reasons)
        return self._cohort(columns, views, reasons)

    def examine(self, display: Display, cache: Path) -> Examination:
        """The rows that ``load`` can use, and a fault for each of the others.

        Of a table without any image, every row of a radiograph that is of use.

        Raises
        ------
        DataError : the table cannot be used as the options say.
        """
        from cxrbench.builtin._csv import NO_IMAGE, nothing_found, views_of, word_faults

        rows = self._rows(without_faults=True)
        columns, views = rows.columns, views_of(rows.columns)
        reasons = [a or b for a, b in zip(views.reasons, columns.cells[NO_IMAGE], strict=True)]
        faults = (*rows.faults, *word_faults(columns, views, reasons))
        has_images = not all(columns.cells[NO_IMAGE])
        if not has_images:
            error = nothing_found(columns, self._folder(), columns.cells[NO_IMAGE])
            faults = (*faults, Fault("no-images", "", str(error)))
            reasons = list(views.reasons)
        if all(reasons):
            raise nothing_found(columns, self._folder(), reasons)
        cohort = self._cohort(columns, views, reasons)
        described = {fault.found for fault in faults}
        notes = tuple(note for note in cohort.notes if note not in described)
        return Examination(replace(cohort, notes=notes), faults, has_images)

    def _cohort(self, columns: Columns, views: Views, reasons: Sequence[str]) -> Cohort:
        """The rows without a reason to leave them out."""
        from cxrbench.builtin._csv import ID, NO_IMAGE, SOURCE, left_out, similar_patients

        rows = [row for row, reason in enumerate(reasons) if not reason]
        ids = columns.cells[ID]
        image_ids = tuple(ids[row] for row in rows)
        used = columns.take(rows)
        labels = self._label_options().read(used)
        ages, age_notes = used.ages()
        sexes, sex_notes = used.sexes()
        patients = self._patients(used, image_ids)
        missing = columns.cells[NO_IMAGE]
        return Cohort(
            name=self.name,
            label_names=labels.names,
            image_ids=image_ids,
            patient_ids=patients,
            labels=labels.values,
            ages=ages,
            sexes=sexes,
            views=tuple(views.views[row] for row in rows),
            sources=tuple(
                source or str(self._folder() / text)
                for source, text in zip(used.cells[SOURCE], used.cells["image"], strict=True)
            ),
            no_finding=labels.no_finding,
            excluded=tuple(Exclusion(ids[row], why) for row, why in enumerate(reasons) if why),
            absent=sum(bool(why) and why == missing[row] for row, why in enumerate(reasons)),
            notes=(
                *columns.notes,
                *left_out(reasons),
                *age_notes,
                *sex_notes,
                *views.notes,
                *labels.notes,
                *_ignored_names(labels.ignored),
                *(similar_patients(patients) if self.patients == "known" else ()),
            ),
            patients_known=self.patients == "known",
        )

    def official_parts(self, cohort: Cohort, folder: Path | None) -> tuple[str, ...] | None:
        """The parts in the column ``split``; None where the table has none.

        Raises
        ------
        DataError : a folder of lists is named, or a cell is no part.
        """
        from cxrbench.builtin._csv import ID, parts_of

        if folder is not None:
            raise DataError(
                "The dataset 'csv' reads its split from the table",
                expected="--split official, and a column of the table with the split",
                found=f"--split official:{folder}",
                fix="leave the folder out, and name the column: --data csv:path=…,split=COLUMN",
            )
        columns = self._rows(without_faults=True).columns
        if "split" not in columns.cells:
            return None
        parts = dict(zip(columns.cells[ID], parts_of(columns), strict=True))
        return tuple(parts[image_id] for image_id in cohort.image_ids)

    def _rows(self, *, without_faults: bool = False) -> TableRows:
        from cxrbench.builtin._csv import read_rows

        keys = ("image", "patient", "age", "sex", "view", "split")
        options = {key: getattr(self, key) for key in keys}
        return read_rows(
            self._file(),
            self._folder(),
            options,
            self._label_options(),
            also=[self._file().parent / Path(n).expanduser() for n in names_in(self.also)],
            without_faults=without_faults,
        )

    def _patients(self, columns: Columns, image_ids: tuple[str, ...]) -> tuple[str, ...]:
        from cxrbench.builtin._csv import no_patients, patients_of

        if self.patients == "unknown":
            return image_ids
        if "patient" not in columns.cells:
            raise no_patients(columns)
        return tuple(patients_of(columns, self.patient_pattern))

    def _label_options(self) -> LabelOptions:
        return LabelOptions(
            *(self.labels, self.findings, self.separator, self.uncertain, self.blank),
            rows=self.rows,
            reader=self.reader,
            no_finding=self.no_finding,
        )

    def _file(self) -> Path:
        if not self.path:
            raise DataError(
                "The dataset 'csv' needs the path of its table",
                expected="a CSV file with a row for each image",
                found="no path",
                fix="--data csv:path=FILE,…, or simply --data FILE",
            )
        return Path(self.path).expanduser().absolute()

    def _folder(self) -> Path:
        return self._file().parent / Path(self.images).expanduser()


def _ignored_names(ignored: tuple[str, ...]) -> tuple[str, ...]:
    more = ", ..." if len(ignored) > 5 else ""
    return (f"  they are {', '.join(ignored[:5])}{more}",) if ignored else ()


@hookimpl
def cxrbench_datasets() -> list[type[Dataset]]:
    """The one dataset of this module."""
    return [CSV]
