"""The dataset ``csv``: any table that names images, their patients and their labels."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from cxrbench import Cohort, CxrbenchError, DataError, Dataset, Exclusion, hookimpl

if TYPE_CHECKING:
    from cxrbench import Columns
    from cxrbench.builtin._csv.labels import Labels

CXRBENCH_API = 1

_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_VALUES = {"unknown": float("nan"), "ones": 1.0, "zeros": 0.0}
_WORDS = {"comma": ",", "space": " "}


@dataclass(frozen=True)
class CSV(Dataset):
    """A CSV file with a row for each image; the options say which column is what.

    ``image`` names the column of paths, which start in the folder ``images`` (relative to the
    table's own, which is the default). ``patient`` names the patients' column; ``patient_pattern``
    is a regular expression that finds the patient in its text; ``patients=unknown`` says that
    nobody knows them. ``view`` may name several columns, joined by ``+``; what is no frontal view
    is left out. ``findings`` names one column with all labels of an image, joined by
    ``separator``; else ``labels`` names a column for each, joined by ``+`` (by default all columns
    that are nothing else). ``uncertain`` is what -1 stands for, ``blank`` what an empty cell
    stands for. ``split`` names the column of published parts, for ``--split official``. An
    ``image_id`` is the table's own text for the image.
    """

    name: ClassVar[str] = "csv"
    general: ClassVar[bool] = True

    path: str = ""
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
    separator: str = "|"
    uncertain: Literal["unknown", "ones", "zeros"] = "unknown"
    blank: Literal["unknown", "zeros"] = "unknown"
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
        if self.patients == "unknown" and (self.patient or self.patient_pattern):
            raise CxrbenchError(
                "csv: patients=unknown contradicts patient and patient_pattern",
                expected="one of them",
                fix="leave the others out",
            )

    @classmethod
    def recognise(cls, path: Path) -> CSV | None:
        """This dataset, if the path is a file that is called a table; nothing is read."""
        called_so = path.name.lower().endswith(_SUFFIXES)
        return cls(path=str(path)) if called_so and path.is_file() else None

    def load(self) -> Cohort:
        """Read the table and find the images.

        Raises
        ------
        DataError : the table cannot be used as the options say, or not one image is there.
        """
        from cxrbench.builtin._csv.images import image_id
        from cxrbench.builtin._csv.patients import no_patients, patients_of
        from cxrbench.builtin._csv.views import views_of

        columns = self._columns()
        known = self.patients == "known"
        if known and "patient" not in columns.cells:
            raise no_patients(columns)
        views = views_of(columns)
        found = columns.cells["no image"]
        reasons = [view or no_image for view, no_image in zip(views.reasons, found, strict=True)]
        rows = [row for row, reason in enumerate(reasons) if not reason]
        if not rows:
            raise self._nothing_found(columns, reasons)
        ids = [image_id(text) for text in columns.cells["image"]]
        used = columns.take(rows)
        labels = self._labels(used)
        ages, age_notes = used.ages()
        sexes, sex_notes = used.sexes()
        image_ids = tuple(ids[row] for row in rows)
        notes = (*columns.notes, *_left_out(reasons), *age_notes, *sex_notes, *views.notes)
        return Cohort(
            name=self.name,
            label_names=labels.names,
            image_ids=image_ids,
            patient_ids=tuple(patients_of(used, self.patient_pattern)) if known else image_ids,
            labels=labels.values,
            ages=ages,
            sexes=sexes,
            views=tuple(views.views[row] for row in rows),
            sources=tuple(used.cells["source"]),
            no_finding=self.no_finding if self.no_finding in labels.names else None,
            excluded=tuple(
                Exclusion(ids[row], reason) for row, reason in enumerate(reasons) if reason
            ),
            notes=(*notes, *labels.notes),
            patients_known=known,
        )

    def official_parts(self, cohort: Cohort, folder: Path | None) -> tuple[str, ...] | None:
        """The parts in the column ``split``; None where the table has none.

        Raises
        ------
        DataError : a folder of lists is named, or a cell is no part.
        """
        from cxrbench.builtin._csv.images import image_id
        from cxrbench.builtin._csv.patients import parts_of

        if folder is not None:
            raise DataError(
                "The dataset 'csv' reads its split from the table.",
                expected="--split official, and a column of parts in the table",
                found=f"--split official:{folder}",
                fix="leave the folder out, and name the column: --data csv:path=…,split=COLUMN",
            )
        columns = self._columns()
        if "split" not in columns.cells:
            return None
        ids = map(image_id, columns.cells["image"])
        parts = dict(zip(ids, parts_of(columns), strict=True))
        return tuple(parts[image_id] for image_id in cohort.image_ids)

    def _columns(self) -> Columns:
        """The table's columns, a row for each image; with ``source`` and ``no image`` (why)."""
        from cxrbench import read_table
        from cxrbench.builtin._csv.choose import HEADINGS, wanted_columns
        from cxrbench.builtin._csv.images import Listing, find_image

        table = read_table(self._file())
        given = {
            key: getattr(self, key)
            for key in ("image", "patient", "age", "sex", "view", "labels", "findings", "split")
        }
        wanted = wanted_columns(table, given)
        if "image" not in wanted:
            fix = "name it: --data csv:path=…,image=COLUMN"
            raise table.missing_column(HEADINGS["image"], fix)
        columns = table.columns(wanted)
        texts = columns.require("image")
        listed: dict[str, Listing] = {}
        found = [find_image(self._folder(), text, listed) for text in texts]
        sources, reasons = map(list, zip(*found, strict=True))
        extended = replace(columns, cells={**columns.cells, "source": sources, "no image": reasons})
        return extended.without_repeats(
            [source or text for source, text in zip(sources, texts, strict=True)],
            [key for key in columns.cells if key != "image"],
            separator=self._separator(),
        )

    def _labels(self, columns: Columns) -> Labels:
        from cxrbench.builtin._csv.choose import names_in
        from cxrbench.builtin._csv.labels import labels_of_cells, labels_of_columns

        blank = _VALUES[self.blank]
        if "findings" in columns.cells:
            chosen = names_in(self.labels)
            return labels_of_cells(columns, chosen, separator=self._separator(), blank=blank)
        return labels_of_columns(columns, uncertain=_VALUES[self.uncertain], blank=blank)

    def _separator(self) -> str:
        return _WORDS.get(self.separator, self.separator)

    def _file(self) -> Path:
        if not self.path:
            raise DataError(
                "The dataset 'csv' was not told where its table is.",
                expected="a CSV file with a row for each image",
                found="no path",
                fix="--data csv:path=FILE,…, or simply --data FILE",
            )
        return Path(self.path).expanduser().absolute()

    def _folder(self) -> Path:
        return self._file().parent / Path(self.images).expanduser()

    def _nothing_found(self, columns: Columns, reasons: list[str]) -> DataError:
        text = columns.cells["image"][0]
        above = self._folder().parent / text
        hint = "with images=.. they are there" if above.is_file() else "see where the paths start"
        return DataError(
            f"{columns.path} has no row with an image that can be used.",
            expected=f"files such as {self._folder() / text}",
            found="; ".join(_left_out(reasons)),
            fix=f"name the folder where the paths start: --data csv:path=…,images=DIR ({hint})",
        )


def _left_out(reasons: list[str]) -> tuple[str, ...]:
    """How many rows are left out for each kind of reason."""
    kinds = Counter(reason.partition(":")[0] for reason in reasons if reason)
    return tuple(
        f"left out {number:,} of {len(reasons):,} rows: {kind}"
        for kind, number in kinds.most_common()
    )


@hookimpl
def cxrbench_datasets() -> list[type[Dataset]]:
    """The one dataset of this module."""
    return [CSV]
