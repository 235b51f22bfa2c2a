"""``cxrbench.evaluate``: scores of anybody's arrays."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import cxrbench
from cxrbench import CxrbenchError, DataError, evaluate
from cxrbench.output.show import show


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 3)) < [0.4, 0.2, 0.1]).astype(float)
    scores = 1 / (1 + np.exp(-(1.5 * truth + rng.normal(size=truth.shape))))
    return truth, scores, rng.integers(0, 120, 300)


@pytest.fixture(scope="module")
def evaluation(arrays):
    truth, scores, patients = arrays
    return evaluate(truth, scores, patients=patients, labels=["A", "B", "No Finding"])


def test_values_are_those_of_scikit_learn(arrays, evaluation):
    truth, scores, _ = arrays
    columns = range(truth.shape[1])
    aurocs = [roc_auc_score(truth[:, one], scores[:, one]) for one in columns]
    precisions = [average_precision_score(truth[:, one], scores[:, one]) for one in columns]
    labels = evaluation.metrics["labels"]
    assert [label["auroc"] for label in labels] == pytest.approx(aurocs)
    assert [label["average_precision"] for label in labels] == pytest.approx(precisions)
    assert evaluation.metrics["macro_auroc"] == pytest.approx(np.mean(aurocs))
    assert evaluation.metrics["macro_auroc_findings"] == pytest.approx(np.mean(aurocs[:2]))
    micro = roc_auc_score(truth.ravel(), scores.ravel())
    assert evaluation.metrics["micro_auroc"] == pytest.approx(micro)


def test_every_estimate_is_within_its_interval(evaluation):
    table = evaluation.to_pandas()
    assert list(table["label"]) == ["macro", "micro", "A", "B", "No Finding"]
    for name in ("auroc", "average_precision", "sensitivity_at_90", "brier"):
        assert (table[f"{name}_low"] < table[name]).all(), name
        assert (table[name] < table[f"{name}_high"]).all(), name
        assert (table[f"{name}_low"] >= 0).all(), name
        assert (table[f"{name}_high"] <= 1).all(), name


def test_images_of_one_patient_widen_the_interval():
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.random(60) < 0.4, 10)
    scores = 1 / (1 + np.exp(-(truth + np.repeat(rng.normal(size=60), 10))))
    known = evaluate(truth, scores, patients=np.repeat(np.arange(60), 10)).metrics
    unknown = evaluate(truth, scores)
    wide, narrow = (np.ptp(one["macro_auroc_interval"]) for one in (known, unknown.metrics))
    assert known["macro_auroc"] == unknown.metrics["macro_auroc"]
    assert wide > 2 * narrow
    assert "Patients are unknown" in unknown._repr_html_()


def test_data_frames_name_the_labels_and_unknown_truth_is_left_out(arrays):
    truth, scores, patients = arrays
    frame = pd.DataFrame(truth, columns=["Mass", "Nodule", "Hernia"])
    frame.loc[:49, "Mass"] = np.nan
    result = evaluate(frame, scores, patients=patients).metrics
    assert [label["label"] for label in result["labels"]] == list(frame.columns)
    assert result["labels"][0]["known"] == 250
    expected = roc_auc_score(truth[50:, 0], scores[50:, 0])
    assert result["labels"][0]["auroc"] == pytest.approx(expected)


def test_order_and_repetition_change_nothing(arrays, evaluation):
    truth, scores, patients = arrays
    again = evaluate(truth, scores, patients=patients, labels=["A", "B", "No Finding"])
    assert again == evaluation


def test_it_is_shown_in_every_format(evaluation, capsys):
    show(evaluation, "table")
    printed = capsys.readouterr().out
    assert "300 images of" in printed
    assert printed.count("(Wilson, bootstrap variance, t)") == printed.count("95 %") == 1
    show(evaluation, "json")
    assert json.loads(capsys.readouterr().out) == evaluation.metrics
    assert "<table>" in evaluation._repr_html_()


@pytest.mark.parametrize(
    ("truth", "scores", "options", "message"),
    [
        ([0, 1], [0.1, 0.2, 0.3], {}, "do not fit together"),
        ([0, 1], [0.1, 0.2], {"patients": ["a"]}, "do not fit together"),
        ([0, 1], [0.1, 0.2], {"labels": ["A", "B"]}, "do not fit together"),
        ([0, 2], [0.1, 0.2], {}, "label"),
        ([0, 1], [0.1, np.nan], {}, "not numbers"),
        ([0, 1], ["a", "b"], {}, "not numeric"),
        ([[[0]]], [[[0.1]]], {}, "dimensions"),
        ([], [], {}, "nothing to evaluate"),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused(truth, scores, options, message):
    with pytest.raises(DataError, match=message):
        evaluate(truth, scores, **options)


def test_one_class_alone_is_undefined_and_no_error():
    result = evaluate([0, 0, 0], [0.1, 0.2, 0.3]).metrics
    assert result["macro_auroc"] is None
    assert issubclass(DataError, CxrbenchError)
    assert cxrbench.evaluate is evaluate


def test_frames_are_matched_by_their_names(arrays, evaluation):
    truth, scores, patients = arrays
    labels = ["A", "B", "No Finding"]
    frame, other = (pd.DataFrame(one, columns=labels) for one in (truth, scores))
    people = pd.Series(patients)
    turned = evaluate(frame, other[labels[::-1]][::-1], patients=people[::-1])
    assert turned == evaluation
    with pytest.raises(DataError, match=r"other columns(.|\n)*to_numpy"):
        evaluate(frame, other.rename(columns={"A": "prob_A"}), patients=people)


def test_what_is_no_probability_or_no_patient_is_refused(arrays):
    truth, scores, patients = arrays
    with pytest.raises(DataError, match=r"not probabilities(.|\n)*sigmoid"):
        evaluate(truth, 10 * scores - 5, patients=patients)
    for nobody in (None, float("nan"), ""):
        people = [nobody, nobody, *list(patients)[2:]]
        with pytest.raises(DataError, match=r"patients are missing(.|\n)*2 rows"):
            evaluate(truth, scores, patients=people)
