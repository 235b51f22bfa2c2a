"""The dataset ``chestmnist``: MedMNIST's small copies of NIH ChestX-ray14, with its fixed split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cxrbench import Cohort, DataError, Dataset, UnreadableImage, hookimpl
from cxrbench.builtin._nih.table import FINDINGS

if TYPE_CHECKING:
    import numpy as np

    from cxrbench.builtin._chestmnist import Archive, Rows

CXRBENCH_API = 1

_FILE = re.compile(r"chestmnist(_64|_128|_224)?\.npz", re.IGNORECASE)


@dataclass(frozen=True)
class ChestMNIST(Dataset):
    """ChestMNIST, 112,120 images of 28, 64, 128 or 224 pixels a side.

    ``path`` is ``chestmnist.npz`` (28), ``chestmnist_64.npz``, ``chestmnist_128.npz`` or
    ``chestmnist_224.npz``, or a folder with one of them. There is no metadata and there are no
    patient ids: only the published split can be used, and intervals are over images. An
    ``image_id`` is part and row, such as ``test_17``.

    A file of ``np.savez`` is read in place, in any order. One of ``np.savez_compressed`` can only
    be inflated from its beginning: in row order, as preparing reads it, that is one pass.
    """

    name: ClassVar[str] = "chestmnist"
    defaults: ClassVar[Mapping[str, object]] = {"split": "official"}
    citation: ClassVar[str] = (
        "Yang J, Shi R, Wei D, Liu Z, Zhao L, Ke B, Pfister H, Ni B. MedMNIST v2: A large-scale "
        "lightweight benchmark for 2D and 3D biomedical image classification. Scientific Data 10, "
        "41 (2023). doi:10.1038/s41597-022-01721-8. Its images are those of: Wang X, Peng Y, Lu L, "
        "Lu Z, Bagheri M, Summers RM. ChestX-ray8. CVPR 2017. doi:10.1109/CVPR.2017.369"
    )

    path: str = ""

    @classmethod
    def recognise(cls, path: Path) -> ChestMNIST | None:
        """This dataset, if the path is one of MedMNIST's files by name, or a folder with any."""
        files = _files(path) if path.is_dir() else _FILE.fullmatch(path.name)
        return cls(path=str(path)) if files else None

    def load(self) -> Cohort:
        """Read the labels.

        Raises
        ------
        DataError : there is no such file, or it is not what MedMNIST publishes.
        """
        import numpy as np

        from cxrbench.builtin._chestmnist import PARTS, read_labels

        _ = self._rows  # opened here, before threads ask for images
        labels = {part: read_labels(self._archive, part) for part in PARTS}
        places = [(part, row) for part in PARTS for row in range(len(labels[part]))]
        image_ids = tuple(f"{part}_{row}" for part, row in places)
        return Cohort(
            name=self.name,
            label_names=FINDINGS,
            image_ids=image_ids,
            patient_ids=image_ids,
            labels=np.concatenate([labels[part] for part in PARTS]),
            ages=np.full(len(places), np.nan, np.float32),
            sexes=("",) * len(places),
            views=("",) * len(places),
            sources=image_ids,
            no_finding=None,
            patients_known=False,
        )

    def read(self, source: str, *, max_pixels: int) -> np.ndarray:
        """One image (S, S) uint8."""
        part, _, row = source.partition("_")
        side = self._archive.images[part].shape[1]
        if side * side > max_pixels:
            raise UnreadableImage(f"{side}x{side} pixels: more than the limit of {max_pixels}")
        return self._rows[part].read(int(row))

    def signature(self, source: str) -> str:
        """That of the whole file: the list of its arrays, with checksums, is at its end."""
        return self._signature

    def official_parts(self, cohort: Cohort, folder: Path | None) -> tuple[str, ...]:
        """MedMNIST's parts, from the image ids.

        Raises
        ------
        DataError : a folder of lists is named, and there are none.
        """
        if folder is not None:
            raise DataError(
                "The split of 'chestmnist' is in its file",
                expected="--split official",
                found=f"--split official:{folder}",
                fix="leave the folder out",
            )
        return tuple(image_id.partition("_")[0] for image_id in cohort.image_ids)

    def official_list(self, folder: Path | None) -> tuple[str, str | None]:
        """MedMNIST's split, which is in its file."""
        return "medmnist", None

    @cached_property
    def _archive(self) -> Archive:
        from cxrbench.builtin._chestmnist import open_archive

        return open_archive(self._file(), len(FINDINGS))

    @cached_property
    def _signature(self) -> str:
        return super().signature(str(self._archive.path))

    @cached_property
    def _rows(self) -> Mapping[str, Rows]:
        from cxrbench.builtin._chestmnist import PARTS, open_rows

        return {part: open_rows(self._archive, part) for part in PARTS}

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens the file anew.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _file(self) -> Path:
        if not self.path:
            raise DataError(
                "The dataset 'chestmnist' needs the path of its file",
                expected="MedMNIST's chestmnist.npz, or chestmnist_64.npz, _128 or _224",
                found="no path",
                fix="--data chestmnist:path=FILE, or simply --data FILE",
            )
        path = Path(self.path).expanduser().absolute()
        files = _files(path) if path.is_dir() else [path]
        if len(files) != 1:
            raise DataError(
                f"{path} does not have one file of ChestMNIST",
                expected="one of chestmnist.npz, chestmnist_64.npz, _128 and _224",
                found=", ".join(file.name for file in files) or "none",
                fix="name the file: --data FILE",
            )
        return files[0]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name))


@hookimpl
def cxrbench_datasets() -> list[type[Dataset]]:
    """The one dataset of this module."""
    return [ChestMNIST]
