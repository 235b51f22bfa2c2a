"""What every recipe of a grid shares: the cohort, its split and the prepared images."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrbench.data.cohort import board_key, fingerprint
from cxrbench.data.image_pass import Preparation
from cxrbench.data.prepare import Prepared, prepare
from cxrbench.data.splits import PARTS, Split, make_split
from cxrbench.datasets import load_cohort
from cxrbench.errors import DataError
from cxrbench.evaluation.patients import counted_labels
from cxrbench.interfaces import Cohort, Dataset, Display, FeatureExtractor
from cxrbench.settings import Settings


@dataclass(frozen=True, eq=False)
class Material:
    """Images and labels, ready for any recipe.

    ``split`` leaves out images that could not be read (their part is ``""``); ``split_hash`` is of
    the split before that. ``counted`` (L,) bool are the labels in macro. ``images_key`` identifies
    the decoded images in cohort order, whatever their size.
    """

    dataset: Dataset
    cohort: Cohort
    split: Split
    prepared: Prepared
    fingerprint: str
    board_key: str
    counted: np.ndarray
    images_key: str

    def rows(self, part: str) -> np.ndarray:
        """The usable rows (n,) of a part, ascending."""
        return self.split.rows(part)

    def patients(self, part: str) -> tuple[str, ...]:
        """The patient of each usable row of a part."""
        return tuple(self.cohort.patient_ids[row] for row in self.rows(part).tolist())


def gather_material(  # noqa: PLR0913 - what is wanted of the images, and where it is kept
    dataset: Dataset,
    settings: Settings,
    *,
    image_sizes: Collection[int],
    clahe_sizes: Collection[int] = (),
    extractors: Collection[FeatureExtractor],
    cache: Path,
    threads: int,
    display: Display,
) -> Material:
    """Load, split and prepare; one decode per image feeds all sizes and extractors."""
    cohort = load_cohort(dataset)
    for note in cohort.notes:
        display.say(f"  {note}")
    split = make_split(cohort, dataset, settings.split, settings.fractions, settings.split_seed)
    outside = int((split.parts == "").sum())
    if outside:
        display.say(f"  {outside:,} images are in no part of the {split.kind} split, and not used")
    prepared = prepare(
        dataset,
        cohort,
        Preparation(
            image_sizes=tuple(sorted(image_sizes)),
            clahe_sizes=tuple(sorted(clahe_sizes)),
            extractors=tuple(sorted(extractors, key=repr)),
            fit=settings.fit,
            clahe=settings.clahe,
            max_pixels=settings.max_pixels,
        ),
        max_bad=settings.max_bad,
        cache=cache,
        threads=threads,
        display=display,
    )
    usable = replace(split, parts=np.where(prepared.usable, split.parts, ""))
    _check_parts(usable, split)
    test = usable.rows("test")
    patients = [cohort.patient_ids[row] for row in test.tolist()]
    return Material(
        dataset=dataset,
        cohort=cohort,
        split=usable,
        prepared=prepared,
        fingerprint=fingerprint(cohort, prepared.digests),
        board_key=board_key(
            cohort.label_names,
            [cohort.image_ids[row] for row in test.tolist()],
            patients,
            cohort.labels[test],
        ),
        counted=counted_labels(cohort.labels[test], patients),
        images_key=hashlib.sha256("\n".join(prepared.digests).encode()).hexdigest(),
    )


def _check_parts(usable: Split, split: Split) -> None:
    for part in PARTS:
        if not len(usable.rows(part)):
            raise DataError(
                f"none of the {len(split.rows(part))} images in {part} can be read",
                expected="at least one readable image in each of train, val and test",
                fix="check the image files; with few images, change --fractions",
            )
