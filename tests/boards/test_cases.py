"""Cases worth a look: the extremes of each label, one for each label and patient."""

from __future__ import annotations

import numpy as np

from cxrbench.boards.report.cases import choose_cases
from cxrbench.runs.predictions import Predictions


def predictions(y_true: list[list[float]], y_score: list[list[float]], patients=None):
    truth = np.array(y_true, np.float32)
    names = np.array([f"i{row}" for row in range(len(truth))])
    return Predictions(
        image_ids=names,
        patients=names if patients is None else np.array(patients),
        patients_known=True,
        label_names=("Mass", "Hernia"),
        no_finding=None,
        counted=np.array([True, True]),
        y_true=truth,
        y_score=np.array(y_score),
        ages=np.zeros(len(truth), np.float32),
        sexes=np.full(len(truth), ""),
        views=np.full(len(truth), ""),
    )


TRUTH = [[1, 0], [0, 1], [1, 1], [0, 0], [np.nan, 0]]
SCORES = [[0.9, 0.01], [0.8, 0.001], [0.1, 0.02], [0.2, 0.03], [0.95, 0.0]]


def told(cases):
    return [(case.kind, case.image_id, case.label) for case in cases]


def test_the_extremes_of_each_label_whatever_its_scores_are():
    cases = choose_cases(predictions(TRUTH, SCORES), 2)
    assert told(cases) == [
        ("found", "i0", "Mass"),
        ("found", "i2", "Hernia"),
        ("missed", "i2", "Mass"),
        ("missed", "i1", "Hernia"),
        ("false alarm", "i3", "Hernia"),
        ("false alarm", "i1", "Mass"),
    ]
    assert [case.above for case in cases if case.kind == "missed"] == [0.0, 0.2]
    assert cases[0].y_score == 0.9


def test_no_patient_twice_in_a_kind_and_never_an_unknown_label():
    one_patient = predictions(TRUTH, SCORES, patients=["p"] * 5)
    assert [case.kind for case in choose_cases(one_patient, 3)] == [
        "found",
        "missed",
        "false alarm",
    ]
    images = {case.image_id for case in choose_cases(predictions(TRUTH, SCORES), 9)}
    assert "i4" not in images or all(
        case.label == "Hernia"
        for case in choose_cases(predictions(TRUTH, SCORES), 9)
        if case.image_id == "i4"
    )


def test_a_label_without_positives_is_only_a_false_alarm():
    cases = choose_cases(predictions([[0, 0], [1, 0]], [[0.1, 0.5], [0.2, 0.6]]), 5)
    assert {case.label for case in cases if case.kind != "false alarm"} == {"Mass"}
    assert choose_cases(predictions(TRUTH, SCORES), 0) == ()
