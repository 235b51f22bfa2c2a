"""A dataset of plain files for the benchmarks: each file is the image of another patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrbench import Cohort, Dataset


@dataclass(frozen=True)
class PlainFiles(Dataset):
    """Files, read as they are; the same file may stand there twice."""

    name = "plain-files"

    files: tuple[Path, ...]

    def load(self) -> Cohort:
        """One row for each file, without findings."""
        ids = tuple(f"{number}-{path.name}" for number, path in enumerate(self.files))
        unknown = ("",) * len(ids)
        return Cohort(
            name=self.name,
            label_names=("Mass",),
            image_ids=ids,
            patient_ids=ids,
            labels=np.zeros((len(ids), 1), np.float32),
            ages=np.full(len(ids), np.nan, np.float32),
            sexes=unknown,
            views=unknown,
            sources=tuple(map(str, self.files)),
        )
