"""What every recipe of a grid shares: the cohort, its split and the prepared images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrbench.data.cohort import dominant_patients, fingerprint, require_files, take
from cxrbench.data.datasets import load_cohort
from cxrbench.data.splits import PARTS, Split, make_split, split_hash
from cxrbench.errors import DataError
from cxrbench.interfaces import Cohort, Dataset, Display, FittedEncoder
from cxrbench.modeling.assemble import Statistics, feature_statistics
from cxrbench.recipe import Feature
from cxrbench.runs.predictions import TestSet
from cxrbench.settings import Settings
from cxrbench.store.cache import purpose_for
from cxrbench.store.encode import encode
from cxrbench.store.image_pass import ImagesInOrder, Preparation, in_order
from cxrbench.store.prepare import Prepared, prepare

_NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, eq=False)
class DividedCohort:
    """A cohort and its split."""

    dataset: Dataset
    cohort: Cohort
    split: Split

    def rows(self, part: str) -> np.ndarray:
        """The rows (n,) of a training, validation or test split, ascending."""
        return self.split.rows(part)

    def patients(self, part: str) -> tuple[str, ...]:
        """The patient of each of these rows."""
        return tuple(self.cohort.patient_ids[row] for row in self.rows(part).tolist())

    def labels(self, part: str) -> np.ndarray:
        """The labels (n, L) of these rows."""
        return self.cohort.labels[self.rows(part)]

    @property
    def prevalence(self) -> np.ndarray:
        """Each label's share (L,) float32 of the training images on which it is known; else 0."""
        labels = self.labels("train")
        known = np.maximum((~np.isnan(labels)).sum(axis=0), 1)
        prevalence: np.ndarray = (np.nansum(labels, axis=0) / known).astype(np.float32)
        return prevalence


@dataclass(frozen=True, eq=False)
class PreparedCohort(DividedCohort):
    """Images and labels, ready for any recipe.

    ``split`` leaves out images that could not be read (their part is ``""``); ``split_hash`` is of
    the split before that. ``images_key`` identifies the decoded images in cohort order, whatever
    their size.
    """

    prepared: Prepared
    fingerprint: str
    test: TestSet
    images_key: str


def load_and_split(
    dataset: Dataset, settings: Settings, *, cache: Path, display: Display
) -> DividedCohort:
    """Load the table of a dataset and divide its images by patient.

    Raises
    ------
    DataError : the dataset cannot be used, too many of its rows have no file, or it has too few
        patients for the split.
    """
    cohort = load_cohort(dataset, display, cache)
    require_files(cohort, settings.max_bad)
    split = make_split(
        cohort,
        dataset,
        settings.split,
        settings.fractions,
        settings.split_seed,
        allow_overlap=settings.allow_overlap,
    )
    for text in split.notes:
        display.say(f"  {text}")
    for text in dominant_patients(cohort, settings.fractions).values():
        display.say(f"  {text}")
    outside = int((split.parts == "").sum())
    if outside:
        display.say(f"  {outside:,} images are not in the {split.kind} split, and are not used")
    divided = DividedCohort(dataset, cohort, split)
    if settings.limit is None:
        return divided
    sample = sample_of(divided, settings.limit)
    sizes = ", ".join(f"{len(sample.rows(part)):,} {_NAMES[part]}" for part in PARTS)
    display.say(f"  smoke test (--limit {settings.limit}): {sizes} images; scores are no results")
    return sample


def sample_of(divided: DividedCohort, limit: int) -> DividedCohort:
    """About ``limit`` images: whole patients from each split, in its proportion, at least two.

    The same patients for the same split and limit; a larger limit adds patients to them.
    """
    cohort, split = divided.cohort, divided.split
    used = int((split.parts != "").sum())
    chosen: list[int] = []
    for part in PARTS:
        rows = split.rows(part)
        by_patient: dict[str, list[int]] = {}
        for row in rows.tolist():
            by_patient.setdefault(cohort.patient_ids[row], []).append(row)
        patients = sorted(by_patient)
        order = np.random.default_rng(split.seed).permutation(len(patients)).tolist()
        share, taken = limit * len(rows) / used, list[int]()
        for count, place in enumerate(order):
            if count >= 2 and len(taken) >= share:
                break
            taken += by_patient[patients[place]]
        chosen += taken
    index = np.sort(np.array(chosen))
    smaller, parts = take(cohort, index), split.parts[index]
    digest = split_hash(smaller.image_ids, parts.tolist())
    return DividedCohort(divided.dataset, smaller, replace(split, parts=parts, hash=digest))


def prepare_cohort(
    divided: DividedCohort,
    preparation: Preparation,
    *,
    max_bad: float,
    cache: Path,
    threads: int,
    display: Display,
    images_in_order: ImagesInOrder = in_order,
) -> PreparedCohort:
    """Decode each image once, for everything that ``preparation`` names."""
    dataset, cohort, split = divided.dataset, divided.cohort, divided.split
    prepared = prepare(
        dataset,
        cohort,
        preparation,
        max_bad=max_bad,
        cache=cache,
        threads=threads,
        display=display,
        images_in_order=images_in_order,
    )
    usable = replace(split, parts=np.where(prepared.usable, split.parts, ""))
    for part in PARTS:
        if not len(usable.rows(part)):
            raise DataError(
                f"no image of the {_NAMES[part]} split can be read",
                expected="at least one readable image in each split",
                found=f"{len(split.rows(part)):,} images that cannot be read",
                fix="check the image files; with few images, change --fractions",
            )
    return PreparedCohort(
        dataset=dataset,
        cohort=cohort,
        split=usable,
        prepared=prepared,
        fingerprint=fingerprint(cohort, prepared.digests),
        test=TestSet.of(cohort, usable.rows("test")),
        images_key=hashlib.sha256("\n".join(prepared.digests).encode()).hexdigest(),
    )


@dataclass(frozen=True, eq=False)
class EncodedFeature:
    """One feature of a recipe: its vectors (N, D), the fitted encoder, and training statistics."""

    vectors: np.ndarray
    fitted: FittedEncoder
    statistics: Statistics


def encode_feature(
    feature: Feature, seed: int, data: PreparedCohort, cache: Path, display: Display
) -> EncodedFeature:
    """Return the feature vectors of all images, from an encoder fitted on the training split."""
    store = data.prepared.features[feature.extractor]
    train_rows = data.rows("train")
    encoded = encode(
        store.descriptors,
        len(data.cohort),
        feature.extractor,
        feature.encoder,
        train_rows,
        seed=seed,
        # Both: a store is filled anew under the same name where its images turned out to be others.
        store_key=f"{store.folder.name}:{data.images_key}",
        cache=cache,
        display=display,
        purpose=purpose_for(data.dataset, f"{feature.text} feature vectors, seed {seed}"),
    )
    return EncodedFeature(
        encoded.vectors, encoded.fitted, feature_statistics(encoded.vectors, train_rows)
    )
