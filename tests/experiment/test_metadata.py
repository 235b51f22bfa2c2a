"""The three tables of a split, read back with pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrbench.data.splits import PARTS, Split
from cxrbench.experiment.record import write_metadata
from cxrbench.interfaces import Cohort


def test_each_part_gets_its_rows_and_unknown_is_blank(tmp_path):
    cohort = Cohort(
        name="made",
        label_names=("Mass, large", "No Finding"),
        image_ids=("a", 'b "2"', "c", "d", "e"),
        patient_ids=("007", "1", "2", "3", "4"),
        labels=np.array([[1, 0], [0, 1], [np.nan, 0], [0, 0], [1, 1]], dtype=np.float32),
        ages=np.array([50, np.nan, 0.5, 61, 62], dtype=np.float32),
        sexes=("F", "M", "", "M", "F"),
        views=("PA", "", "AP", "PA", "PA"),
        sources=("",) * 5,
    )
    parts = np.array(["train", "test", "val", "", "train"])
    split = Split(parts, "patient", 0, (0.7, 0.1, 0.2), "")

    paths = write_metadata(cohort, split, tmp_path / "new" / "folder")

    assert [path.name for path in paths] == [f"{part}_metadata.csv" for part in PARTS]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(p.name for p in paths)
    train, val, test = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths)
    assert [*train.columns] == [
        "image_id", "patient_id", "age", "sex", "view", "Mass, large", "No Finding"
    ]  # fmt: skip
    assert train.to_numpy().tolist() == [
        ["a", "007", "50", "F", "PA", "1", "0"],
        ["e", "4", "62", "F", "PA", "1", "1"],
    ]
    assert val.to_numpy().tolist() == [["c", "2", "0.5", "", "AP", "", "0"]]
    assert test.to_numpy().tolist() == [['b "2"', "1", "", "M", "", "0", "1"]]


def test_writing_again_replaces_the_tables(tmp_path):
    cohort = Cohort(
        name="made",
        label_names=("Mass",),
        image_ids=("a", "b", "c"),
        patient_ids=("1", "2", "3"),
        labels=np.zeros((3, 1), dtype=np.float32),
        ages=np.zeros(3, dtype=np.float32),
        sexes=("",) * 3,
        views=("",) * 3,
        sources=("",) * 3,
    )
    for parts in (["train", "val", "test"], ["test", "val", "train"]):
        split = Split(np.array(parts), "patient", 0, (0.7, 0.1, 0.2), "")
        paths = write_metadata(cohort, split, tmp_path)

    assert pd.read_csv(paths[0])["image_id"].tolist() == ["c"]
