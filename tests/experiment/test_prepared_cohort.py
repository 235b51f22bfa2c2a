"""What all recipes of a grid share, and what a dataset can do wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cxrbench import Cohort, DataError, Dataset
from cxrbench.data.splits import PARTS, split_by_patient
from cxrbench.errors import PluginError
from cxrbench.experiment.cohort import (
    DividedCohort,
    encode_feature,
    load_and_split,
    prepare_cohort,
    sample_of,
)
from cxrbench.output.display import SilentDisplay
from cxrbench.recipe import parse_recipe
from cxrbench.settings import Settings
from cxrbench.store.image_pass import Preparation


@dataclass(frozen=True)
class Failing(Dataset):
    name = "failing"

    kind: str = ""

    def load(self) -> Cohort:
        if self.kind == "own":
            raise DataError("there is nothing here", fix="look elsewhere")
        raise KeyError("Finding Labels")


def gather(dataset: Dataset, cache: Path) -> object:
    return load_and_split(dataset, Settings(), cache=cache, display=SilentDisplay())


def test_a_mistake_in_a_datasets_load_is_told_as_the_plugins(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"'failing' failed to load\n.*KeyError: 'Finding"):
        gather(Failing(), tmp_path)


def test_a_datasets_own_error_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing here"):
        gather(Failing(kind="own"), tmp_path)


def test_a_smoke_test_takes_whole_patients_from_each_split() -> None:
    count = 400
    patients = tuple(f"p{row // 3:03}" for row in range(count))
    labels = np.zeros((count, 2), np.float32)
    labels[::2, 0] = labels[1::3, 1] = 1
    cohort = Cohort(
        name="drawn",
        label_names=("a", "b"),
        image_ids=tuple(f"i{row:03}" for row in range(count)),
        patient_ids=patients,
        labels=labels,
        ages=np.full(count, np.nan, np.float32),
        sexes=("",) * count,
        views=("",) * count,
        sources=("",) * count,
    )
    split = split_by_patient(cohort)
    divided = DividedCohort(Failing(), cohort, split)
    sample = sample_of(divided, 50)
    assert 50 <= len(sample.cohort) <= 60
    for part in PARTS:
        whole, few = set(divided.patients(part)), sample.patients(part)
        assert set(few) <= whole
        assert len(set(few)) >= 2
        images = [row for row in divided.rows(part) if cohort.patient_ids[row] in few]
        assert [cohort.image_ids[row] for row in images] == [
            sample.cohort.image_ids[row] for row in sample.rows(part)
        ]
    again, larger = sample_of(divided, 50), sample_of(divided, 100)
    assert again.split.hash == sample.split.hash != split.hash
    assert set(sample.cohort.image_ids) < set(larger.cohort.image_ids)
    everything = sample_of(divided, 10_000)
    assert everything.split.hash == split.hash


@dataclass(frozen=True)
class Noise(Dataset):
    """Images of noise whose signature does not change with them."""

    name = "noise-images"

    seed: int = 0

    def load(self) -> Cohort:
        raise NotImplementedError

    def read(self, source: str, *, max_pixels: int) -> np.ndarray:
        return np.random.default_rng((self.seed, int(source))).integers(0, 256, (32, 32), np.uint8)

    def signature(self, source: str) -> str:
        return source


def test_feature_vectors_are_those_of_the_images_that_are_there(tmp_path: Path, registry) -> None:
    """Also where the cache had others under the same names, and the stores were filled anew."""
    count = 60
    rng = np.random.default_rng(0)
    cohort = Cohort(
        name="noise-images",
        label_names=("a",),
        image_ids=tuple(f"i{row:02}" for row in range(count)),
        patient_ids=tuple(f"p{row:02}" for row in range(count)),
        labels=rng.integers(0, 2, (count, 1)).astype(np.float32),
        ages=np.full(count, np.nan, np.float32),
        sexes=("",) * count,
        views=("",) * count,
        sources=tuple(map(str, range(count))),
    )
    (feature,) = parse_recipe("grid", registry).features

    def vectors(seed: int, cache: Path) -> np.ndarray:
        data = prepare_cohort(
            DividedCohort(Noise(seed), cohort, split_by_patient(cohort)),
            Preparation(extractors=(feature.extractor,)),
            max_bad=0.0,
            cache=cache,
            threads=1,
            display=SilentDisplay(),
        )
        return np.array(encode_feature(feature, 0, data, cache, SilentDisplay()).vectors)

    first = vectors(1, tmp_path / "cache")
    second = vectors(2, tmp_path / "cache")
    np.testing.assert_array_equal(second, vectors(2, tmp_path / "fresh"))
    assert not np.array_equal(first, second)
