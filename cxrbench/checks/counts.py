"""Counts of a cohort: images, patients, labels alone and together, views, ages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.checks.images import ImageScan
from cxrbench.data.splits import PARTS, Split
from cxrbench.interfaces import Cohort


@dataclass(frozen=True)
class Distribution:
    """Five numbers of a distribution, and how many values are known."""

    known: int
    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float


@dataclass(frozen=True)
class LabelCount:
    """Images and patients with a label, images without it or unknown, and images per split."""

    label: str
    images: int
    patients: int | None
    without: int
    unknown: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class PartCount:
    """Images and patients of one split."""

    part: str
    images: int
    patients: int | None


@dataclass(frozen=True)
class Counts:
    """``together`` (L, L): images with both labels. ``files``: how many of each type and size.

    Numbers of patients, here and above, are None if patients are unknown.
    """

    images: int
    patients: int | None
    images_per_patient: Distribution | None
    labels: tuple[LabelCount, ...]
    together: tuple[tuple[int, ...], ...]
    views: Mapping[str, int]
    sexes: Mapping[str, int]
    ages: Distribution | None
    boxes: int
    parts: tuple[PartCount, ...]
    files: Mapping[str, int]


def count(cohort: Cohort, split: Split | None, films: ImageScan | None) -> Counts:
    """Count everything; without a split or films what they would give is empty."""
    positive = cohort.labels == 1
    per_patient = Counter(cohort.patient_ids if cohort.patients_known else ())
    return Counts(
        images=len(cohort),
        patients=_patients(cohort, range(len(cohort))),
        images_per_patient=_spread(list(per_patient.values())),
        labels=_label_counts(cohort, positive, split),
        together=tuple(map(tuple, (positive.T.astype(np.int64) @ positive).tolist())),
        views=_value_counts(cohort.views),
        sexes=_value_counts(cohort.sexes),
        ages=_spread(cohort.ages[~np.isnan(cohort.ages)].tolist()),
        boxes=len(cohort.boxes),
        parts=_part_counts(cohort, split),
        files=_file_counts(films),
    )


def _patients(cohort: Cohort, rows: Iterable[int]) -> int | None:
    if not cohort.patients_known:
        return None
    return len({cohort.patient_ids[row] for row in rows})


def _spread(values: Sequence[float]) -> Distribution | None:
    if not values:
        return None
    quantiles = np.quantile(np.array(values, float), (0, 0.25, 0.5, 0.75, 1)).tolist()
    return Distribution(len(values), *quantiles)


def _label_counts(
    cohort: Cohort, positive: np.ndarray, split: Split | None
) -> tuple[LabelCount, ...]:
    parts = {part: split.rows(part) for part in PARTS} if split else {}
    return tuple(
        LabelCount(
            label=name,
            images=int(positive[:, column].sum()),
            patients=_patients(cohort, np.flatnonzero(positive[:, column]).tolist()),
            without=int((cohort.labels[:, column] == 0).sum()),
            unknown=int(np.isnan(cohort.labels[:, column]).sum()),
            parts={part: int(positive[rows, column].sum()) for part, rows in parts.items()},
        )
        for column, name in enumerate(cohort.label_names)
    )


def _part_counts(cohort: Cohort, split: Split | None) -> tuple[PartCount, ...]:
    if split is None:
        return ()
    rows_of = {part: split.rows(part).tolist() for part in PARTS}
    return tuple(
        PartCount(part, len(rows), _patients(cohort, rows)) for part, rows in rows_of.items()
    )


def _file_counts(films: ImageScan | None) -> dict[str, int]:
    files = films.files if films else ()
    kinds = Counter(f"{file.kind} {file.width}×{file.height}" for file in files)
    return dict(kinds.most_common())


def _value_counts(values: Sequence[str]) -> dict[str, int]:
    return {value or "unknown": number for value, number in Counter(values).most_common()}
