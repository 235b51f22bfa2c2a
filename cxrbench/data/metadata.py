"""Write a split as ``train_metadata.csv``, ``val_metadata.csv`` and ``test_metadata.csv``."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from cxrbench.data.splits import PARTS, Split
from cxrbench.interfaces import Cohort

COLUMNS = ("image_id", "patient_id", "age", "sex", "view")


def write_metadata(cohort: Cohort, split: Split, folder: Path) -> tuple[Path, ...]:
    """Write one table per part and return the three paths.

    A row is one image, in the cohort's order: `COLUMNS`, then a column per label with 1, 0, or
    nothing where unknown. So is the patient where patients are unknown.
    Each file appears whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in PARTS:
        path = folder / f"{part}_metadata.csv"
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*COLUMNS, *cohort.label_names))
            writer.writerows(_row(cohort, row) for row in split.rows(part).tolist())
        unfinished.replace(path)
        paths.append(path)
    return tuple(paths)


def _row(cohort: Cohort, row: int) -> list[str]:
    return [
        cohort.image_ids[row],
        cohort.patient_ids[row] if cohort.patients_known else "",
        _number(cohort.ages[row]),
        cohort.sexes[row],
        cohort.views[row],
        *map(_number, cohort.labels[row]),
    ]


def _number(value: np.floating) -> str:
    return "" if np.isnan(value) else f"{value:g}"
