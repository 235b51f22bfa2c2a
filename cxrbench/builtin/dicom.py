"""The dataset ``dicom``: a folder tree of DICOM files and a table of labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from cxrbench import (
    TABLE_SUFFIXES,
    Cohort,
    DataError,
    Dataset,
    Display,
    Examination,
    Exclusion,
    LabelOptions,
    hookimpl,
)

if TYPE_CHECKING:
    import numpy as np

    from cxrbench.builtin._dicom.key import Key
    from cxrbench.builtin._dicom.rows import LabelRows, RowMatch
    from cxrbench.builtin._dicom.scan import Scan

CXRBENCH_API = 1

_RENDERING = 2
"""Part of every signature; raised when the same file would give other pixels."""


@dataclass(frozen=True)
class DICOM(Dataset):
    """Frontal chest radiographs (CR, DX, RG) below a folder, with labels from a table.

    ``path`` is the folder; files are known by their content, whatever their names. ``table`` is a
    CSV file whose column ``image`` holds file names, paths below the folder, or SOP Instance UIDs.
    ``labels``, ``findings``, ``separator``, ``uncertain``, ``blank``, ``rows``, ``reader`` and
    ``no_finding`` say how its labels are written, as for the dataset ``csv``. ``patient`` is its
    column of patients, who are those of the headers otherwise.

    Patients are pseudonyms: HMAC-SHA-256 with the key in the file ``key``, in
    ``CXRBENCH_DICOM_KEY``, or in the user's configuration folder, where one is made. ``image_ids``
    says what images are called, pseudonyms too or paths; ``crosswalk`` is a file to which the
    table from these ids to files is written. ``unknown`` says whether files that do not say what
    they show, or from where, are taken for frontal chest radiographs.
    """

    name: ClassVar[str] = "dicom"
    file_suffixes: ClassVar[tuple[str, ...]] = (".dcm", ".dicom")
    path_options: ClassVar[tuple[str, ...]] = ("path", "table", "key", "crosswalk")
    user_options: ClassVar[tuple[str, ...]] = ("key", "crosswalk")

    path: str = ""
    table: str = ""
    image: str = ""
    patient: str = ""
    labels: str = ""
    findings: str = ""
    separator: str = "auto"
    uncertain: Literal["unknown", "ones", "zeros"] = "unknown"
    blank: Literal["unknown", "zeros"] = "unknown"
    rows: Literal["auto", "agree", "any", "majority", "all"] = "auto"
    reader: str = ""
    no_finding: str = "No Finding"
    key: str = ""
    image_ids: Literal["hash", "path"] = "hash"
    crosswalk: str = ""
    unknown: Literal["exclude", "accept"] = "exclude"

    def __post_init__(self) -> None:
        """Raise `CxrbenchError` for options that cannot work."""
        self._label_options()

    @classmethod
    def recognise(cls, path: Path) -> DICOM | None:
        """This dataset, if there is a table and one of the first files has DICOM's mark."""
        from cxrbench.builtin._dicom.scan import has_dicom_among_the_first

        if not path.is_dir() or not _tables(path):
            return None
        return cls(path=str(path)) if has_dicom_among_the_first(str(path)) else None

    def load(self) -> Cohort:
        """As `load_showing`, without progress, and with nothing kept."""
        return self.load_showing(None, None)

    def load_showing(self, display: Display | None, cache: Path | None) -> Cohort:
        """Read the table, and all headers that an earlier call has not.

        Raises
        ------
        DataError : folder, table or key cannot be used, or no file can.
        """
        return self._examine(display, cache, without_faults=False).cohort

    def examine(self, display: Display, cache: Path) -> Examination:
        """The files that ``load`` can use, and a fault for each row of the table that it cannot.

        No crosswalk is written.

        Raises
        ------
        DataError : folder, table or key cannot be used, or no file can.
        """
        return self._examine(display, cache, without_faults=True)

    def _examine(
        self, display: Display | None, cache: Path | None, *, without_faults: bool
    ) -> Examination:
        from cxrbench.builtin._dicom.key import find_key
        from cxrbench.builtin._dicom.rows import (
            match,
            nothing_to_use,
            read_labels,
            without_unknown_patients,
        )
        from cxrbench.builtin._dicom.scan import Memory, scan

        _require_pydicom()
        root = self._root()
        table = self._table(root)
        labels = read_labels(
            table, self.image, self.patient, self._label_options(), without_faults=without_faults
        )
        key = find_key(self.key)
        private = (self.key, self.crosswalk)
        own = [str(table), *(str(Path(name).expanduser()) for name in private if name)]
        memory = cache and cache / "headers" / f"{key.pseudonym('archive', str(root))}.jsonl"
        accept = self.unknown == "accept"
        scanned = scan(
            str(root),
            key,
            Memory(memory, str(root), key, accept_unknown=accept),
            leave_out=own,
            accept_unknown=accept,
            display=display,
        )
        rejected = [path for path, _ in scanned.rejected]
        matched = match(labels.images, labels.refused, scanned.radiographs, rejected, key)
        matched, patients, notes = without_unknown_patients(
            matched, scanned.radiographs, labels, key, by_table=bool(self.patient)
        )
        if not matched.pairs:
            raise nothing_to_use(scanned, matched, len(labels.images))
        writer = replace(self, crosswalk="") if without_faults else self
        cohort = writer._cohort(root, scanned, labels, matched, key, patients)
        return Examination(replace(cohort, notes=(*notes, *cohort.notes)), labels.faults)

    def read(self, source: str, *, max_pixels: int) -> np.ndarray:
        """The image as it is meant to be seen, grey (H, W) uint8."""
        from cxrbench.builtin._dicom.pixels import read_pixels

        return read_pixels(source, max_pixels=max_pixels)

    def read_new(self, source: str, *, max_pixels: int) -> np.ndarray:
        """As `read`, for a frontal chest radiograph; ``unknown`` says what is taken for one."""
        from cxrbench.builtin._dicom.radiograph import require_radiograph

        _require_pydicom()
        require_radiograph(source, accept_unknown=self.unknown == "accept")
        return self.read(source, max_pixels=max_pixels)

    def signature(self, source: str) -> str:
        """Size and time of the file, and the version of what makes pixels of it."""
        return f"{super().signature(source)}:dicom{_RENDERING}"

    def _cohort(
        self,
        root: Path,
        scanned: Scan,
        labels: LabelRows,
        matched: RowMatch,
        key: Key,
        patients: Mapping[int, str],
    ) -> Cohort:
        import numpy as np

        from cxrbench.builtin._dicom.rows import counted_reasons
        from cxrbench.builtin._dicom.scan import NOT_READ

        used = [
            (self._image_id(key, path, one.image), path, replace(one, patient=patients[f]), row)
            for f, (path, one), row in (
                (f, scanned.radiographs[f], row) for f, row in matched.pairs
            )
        ]
        used.sort(key=lambda each: each[0])
        ids, paths, radiographs, rows = map(list, zip(*used, strict=True))
        lost = [
            *scanned.rejected,
            *((scanned.radiographs[file][0], reason) for file, reason in matched.files),
            *((labels.images[row], reason) for row, reason in matched.rows),
        ]
        excluded = sorted((self._image_id(key, path), path, reason) for path, reason in lost)
        self._write_crosswalk([*((i, p, "") for i, p in zip(ids, paths, strict=True)), *excluded])
        return Cohort(
            name=self.name,
            label_names=labels.names,
            image_ids=tuple(ids),
            patient_ids=tuple(one.patient for one in radiographs),
            labels=labels.values[rows],
            ages=np.array(
                [np.nan if one.age is None else one.age for one in radiographs], np.float32
            ),
            sexes=tuple(one.sex for one in radiographs),
            views=tuple(one.view for one in radiographs),
            sources=tuple(str(root / path) for path in paths),
            no_finding=labels.no_finding,
            excluded=tuple(Exclusion(name, reason) for name, _, reason in excluded),
            absent=matched.absent
            + sum(reason.startswith(NOT_READ) for _, reason in scanned.rejected),
            notes=(
                f"pseudonyms by {key.origin} (fingerprint {key.fingerprint})",
                *labels.notes,
                *counted_reasons([reason for _, _, reason in excluded]),
            ),
        )

    def _image_id(self, key: Key, path: str, pseudonym: str = "") -> str:
        """That of the SOP Instance UID, so that a file may move; of the path where there is none.

        Rows are in the order of these ids, so that not even their order tells names.
        """
        if self.image_ids == "path":
            return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return pseudonym or key.pseudonym("file", path)

    def _write_crosswalk(self, rows: list[tuple[str, str, str]]) -> None:
        from cxrbench.builtin._dicom.rows import write_crosswalk

        if self.crosswalk:
            write_crosswalk(Path(self.crosswalk).expanduser(), rows)

    def _label_options(self) -> LabelOptions:
        return LabelOptions(
            *(self.labels, self.findings, self.separator, self.uncertain, self.blank),
            rows=self.rows,
            reader=self.reader,
            no_finding=self.no_finding,
        )

    def _root(self) -> Path:
        root = Path(self.path).expanduser().absolute()
        if not self.path or not os.path.isdir(root):
            raise DataError(
                "dicom: there is no folder of DICOM files",
                expected="the folder that contains them",
                found=f"path={self.path}" if self.path else "no path",
                fix="--data dicom:path=FOLDER,table=TABLE.csv",
            )
        return root

    def _table(self, root: Path) -> Path:
        if self.table:
            return Path(self.table).expanduser().absolute()
        own = os.path.realpath(Path(self.crosswalk).expanduser()) if self.crosswalk else ""
        tables = [path for path in _tables(root) if os.path.realpath(path) != own]
        if len(tables) != 1:
            raise DataError(
                "dicom: the table of labels is not specified",
                expected="table=FILE, or one file .csv, .tsv or .gz of these in the folder itself",
                found=f"{len(tables)} such files",
                fix="--data dicom:path=FOLDER,table=TABLE.csv",
            )
        return tables[0]


def _require_pydicom() -> None:
    from importlib.util import find_spec

    if find_spec("pydicom") is None:
        raise DataError(
            "reading DICOM files needs pydicom",
            expected="the extra dicom",
            found="pydicom is not installed",
            fix='pip install "cxrbench[dicom]"',
        ) from ModuleNotFoundError("pydicom", name="pydicom")


def _tables(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.glob("*")
        if path.name.lower().endswith(TABLE_SUFFIXES) and path.is_file()
    )


@hookimpl
def cxrbench_datasets() -> list[type[Dataset]]:
    """The one dataset of this module."""
    return [DICOM]
