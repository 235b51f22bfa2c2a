"""Counts agree with pandas, counted another way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrbench.builtin.phantom import Phantom
from cxrbench.checks.counts import count
from cxrbench.data.splits import Split, split_by_patient


def test_counts_of_the_phantom_agree_with_pandas():
    cohort = Phantom(patients=200).load()
    split = split_by_patient(cohort)
    table = pd.DataFrame(cohort.labels, columns=list(cohort.label_names))
    table = table.assign(patient=cohort.patient_ids, part=split.parts, age=cohort.ages)
    counts = count(cohort, split, None)
    assert counts.images == len(table)
    assert counts.patients == table["patient"].nunique()
    assert counts.images_per_patient.most == table["patient"].value_counts().max()
    assert counts.ages.median == table["age"].median()
    for label, row in zip(counts.labels, counts.together, strict=True):
        has = table[table[label.label] == 1]
        assert (label.images, label.patients) == (len(has), has["patient"].nunique())
        assert label.parts == has["part"].value_counts().reindex(label.parts).fillna(0).to_dict()
        assert list(row) == has[list(cohort.label_names)].sum().tolist()
    for part in counts.parts:
        of_part = table[table["part"] == part.part]
        assert (part.images, part.patients) == (len(of_part), of_part["patient"].nunique())
    assert sum(counts.views.values()) == len(table)
    assert counts.boxes == len(cohort.boxes)


def test_patients_are_not_counted_where_nobody_knows_them(cohort_of):
    ids = ("i0", "i1", "i2")
    cohort = cohort_of([[1, 0], [1, 0], [0, 1]], patients=ids, patients_known=False)
    split = Split(np.array(["train", "val", "test"]), "official", 0, (0.7, 0.1, 0.2), "")
    counts = count(cohort, split, None)
    assert (counts.images, counts.patients, counts.images_per_patient) == (3, None, None)
    assert [(label.images, label.patients) for label in counts.labels] == [(2, None), (1, None)]
    assert {(part.images, part.patients) for part in counts.parts} == {(1, None)}


def test_what_is_unknown_is_counted_as_such(cohort_of):
    cohort = cohort_of([[1, np.nan], [np.nan, 0]])
    counts = count(cohort, None, None)
    assert [(c.images, c.without, c.unknown) for c in counts.labels] == [(1, 0, 1), (0, 1, 1)]
    assert counts.ages is None
    assert counts.views == {"unknown": 2}
    assert (counts.parts, counts.files) == ((), {})
