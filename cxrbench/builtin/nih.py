"""The dataset ``nih``: NIH ChestX-ray14 from a folder with its images and its label table."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cxrbench import Cohort, DataError, Dataset, Display, Examination, Fault, hookimpl

if TYPE_CHECKING:
    from cxrbench.builtin._nih.files import ImageMatch
    from cxrbench.builtin._nih.table import NIHTable

CXRBENCH_API = 1


@dataclass(frozen=True)
class NIH(Dataset):
    """NIH ChestX-ray14, whole or any part of it, in its published layout.

    ``path`` is a folder with ``Ground_Truth.csv``, ``Data_Entry_2017_v2020.csv``,
    ``Data_Entry_2017.csv`` or ``sample_labels.csv`` (also ``.gz``) and the images in
    ``xray_images/``, ``images/``, ``images_001/images/`` to ``images_012/images/``, beside the
    table, or at any depth. With NIH's whole table, any part of the images is enough. Images are
    matched by name without extension, which is also their ``image_id``. ``BBox_List_2017.csv`` is
    read where it is there.
    """

    name: ClassVar[str] = "nih"
    aliases: ClassVar[tuple[str, ...]] = ("chestxray14",)
    citation: ClassVar[str] = (
        "Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale Chest "
        "X-ray Database and Benchmarks on Weakly-Supervised Classification and Localization of "
        "Common Thorax Diseases. CVPR 2017. doi:10.1109/CVPR.2017.369"
    )

    path: str = ""

    @classmethod
    def recognise(cls, path: Path) -> NIH | None:
        """This dataset, if the folder has NIH's table by one of its names, or the path is it."""
        from cxrbench.builtin._nih.table import find_table, is_nihs

        if path.is_dir():
            return cls(path=str(path)) if find_table(path) else None
        is_table = path == find_table(path.parent) and is_nihs(path)
        return cls(path=str(path.parent)) if is_table else None

    def load(self) -> Cohort:
        """Read the table and find the images.

        Raises
        ------
        DataError : the folder, the table or the images are missing or cannot be used.
        """
        from cxrbench.builtin._nih.files import find_images, match_images, read_boxes
        from cxrbench.builtin._nih.table import read_labels

        root = self._root()
        table_path = _table_path(root)
        table = read_labels(table_path)
        match = match_images(table.file_names, table.image_ids, find_images(root))
        cohort = _cohort(root, table_path, table, match)
        return replace(cohort, boxes=read_boxes(root, frozenset(cohort.image_ids)))

    def examine(self, display: Display, cache: Path) -> Examination:
        """Load what can be loaded, and tell every fault of the table, the images and the boxes.

        Raises
        ------
        DataError : the folder or the table is missing or cannot be used as a whole.
        """
        from cxrbench.builtin._nih.files import ImageMatch, find_images, match_images, read_boxes
        from cxrbench.builtin._nih.table import (
            image_ids_of,
            labels_of,
            read_columns,
            without_faults,
        )

        root = self._root()
        table_path = _table_path(root)
        columns = read_columns(table_path)
        sound, refused = without_faults(columns)
        # Where no row is sound, the first fault is raised.
        table, faults = labels_of(sound if len(sound) else columns), list(refused)
        faulty = set(image_ids_of(columns)) - set(table.image_ids)
        try:
            files = {name: at for name, at in find_images(root).items() if name not in faulty}
            match, has_images = match_images(table.file_names, table.image_ids, files), True
        except DataError as error:
            faults.append(Fault("no-images", "", str(error)))
            everything = tuple(range(len(table.image_ids)))
            match, has_images = ImageMatch(everything, table.file_names, (), ()), False
        cohort = _cohort(root, table_path, table, match)
        try:
            cohort = replace(cohort, boxes=read_boxes(root, frozenset(cohort.image_ids)))
        except DataError as error:
            faults.append(Fault("unusable-boxes", "", str(error)))
        return Examination(cohort, tuple(faults), has_images)

    def official_parts(self, cohort: Cohort, folder: Path | None) -> tuple[str, ...]:
        """NIH's lists, ``train_val_list.txt`` and ``test_list.txt``, plain or ``.gz``.

        They are read from ``folder``, or from beside the table where it is None.

        Raises
        ------
        DataError : a list is missing or does not fit the cohort.
        """
        from cxrbench.builtin._nih.files import read_parts

        where = self._root() if folder is None else folder.expanduser()
        return read_parts(cohort.image_ids, where)

    def official_list(self, folder: Path | None) -> tuple[str, str | None]:
        """``nih-official`` if these are NIH's whole lists, and their SHA-256."""
        from cxrbench.builtin._nih.files import identify_official

        return identify_official(self._root() if folder is None else folder.expanduser())

    def _root(self) -> Path:
        if not self.path:
            raise DataError(
                "The dataset 'nih' needs the path of its folder",
                expected="the folder with NIH's table and images",
                found="no path",
                fix="--data nih:path=DIR, or simply --data DIR",
            )
        root = Path(self.path).expanduser().absolute()
        if not root.is_dir():
            raise DataError(
                f"{root} is not a folder",
                expected="the folder with NIH's table and images",
                found="a file" if root.exists() else "nothing there",
                fix="check the path; the folder holds the table, it is not the table",
            )
        if not os.access(root, os.R_OK | os.X_OK):
            raise DataError(
                f"{root} cannot be listed",
                expected="a folder that this user may read",
                found="no permission",
                fix="check its permissions (chmod u+rx)",
            )
        return root


def _table_path(root: Path) -> Path:
    from cxrbench.builtin._nih.table import TABLE_NAMES, find_table

    path = find_table(root)
    if path is None:
        tables = sorted(entry.name for entry in root.glob("*.[cC][sS][vV]*"))
        raise DataError(
            f"{root} has no NIH label table",
            expected=f"{', '.join(TABLE_NAMES)} (or one of them with .gz)",
            found=", ".join(tables[:5]) or "no CSV file",
            fix="download Data_Entry_2017_v2020.csv, or rename your table to Ground_Truth.csv",
        )
    return path


def _cohort(root: Path, table_path: Path, table: NIHTable, match: ImageMatch) -> Cohort:
    """The rows of the table that have an image, without boxes."""
    from cxrbench.builtin._nih.files import places_beside
    from cxrbench.builtin._nih.table import LABEL_NAMES, NO_FINDING

    rows = match.rows
    beside = places_beside(root, match.paths) if len(rows) < len(table.image_ids) else ()
    return Cohort(
        name=NIH.name,
        label_names=LABEL_NAMES,
        image_ids=tuple(table.image_ids[row] for row in rows),
        patient_ids=tuple(table.patient_ids[row] for row in rows),
        labels=table.labels[list(rows)],
        ages=table.ages[list(rows)],
        sexes=tuple(table.sexes[row] for row in rows),
        views=tuple(table.views[row] for row in rows),
        sources=match.paths,
        no_finding=NO_FINDING,
        excluded=match.excluded,
        absent=match.absent,
        notes=_notes(root, table_path, table) + match.notes + beside,
    )


def _notes(root: Path, used: Path, table: NIHTable) -> tuple[str, ...]:
    from cxrbench.builtin._nih.table import TABLE_NAMES

    others = [name for name in TABLE_NAMES if name != used.name and (root / name).exists()]
    if not others:
        return table.notes
    return (f"used {used.name}, not {', '.join(others)}", *table.notes)


@hookimpl
def cxrbench_datasets() -> list[type[Dataset]]:
    """The one dataset of this module."""
    return [NIH]
