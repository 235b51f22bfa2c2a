"""What all recipes of a grid share, and what a dataset can do wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from cxrbench import Cohort, DataError, Dataset
from cxrbench.errors import PluginError
from cxrbench.experiment.cohort import load_and_split
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
