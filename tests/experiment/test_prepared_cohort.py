"""What all recipes of a grid share, and what a dataset can do wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cxrbench import Cohort, DataError, Dataset
from cxrbench.data.splits import PARTS, split_by_patient
from cxrbench.errors import PluginError
from cxrbench.experiment.cohort import DividedCohort, load_and_split, sample_of
from cxrbench.output.display import SilentDisplay
from cxrbench.settings import Settings


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
