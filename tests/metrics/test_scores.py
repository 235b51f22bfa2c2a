"""The whole of `Scores` against scikit-learn, and what is undefined."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from cxrbench.errors import DataError
from cxrbench.metrics.measures import MEASURES, THRESHOLDED
from cxrbench.metrics.scores import Scores, score
from cxrbench.metrics.thresholds import choose_thresholds
from cxrbench.output.show import plain

NAN = float("nan")
NAMES = ("Effusion", "Mass", "Hernia", "No Finding")


def predictions(seed: int, images: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three images per patient, ties, unknown entries, and one hernia."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random((images, 4)) < [0.2, 0.1, 0.0, 0.5]).astype(np.float32)
    y_true[7, 2] = 1
    y_score = np.round(np.clip(rng.random((images, 4)) * 0.7 + 0.3 * y_true, 0, 1), 2)
    y_true[rng.random((images, 4)) < 0.1] = np.nan
    y_true[7, 2] = 1
    return y_true, y_score.astype(np.float32), (np.arange(images) // 3).astype(str)


def scored(seed: int = 0) -> tuple[Scores, np.ndarray, np.ndarray, np.ndarray]:
    y_true, y_score, patient_ids = predictions(seed)
    thresholds = choose_thresholds(*predictions(seed + 1)[:2])
    result = score(
        y_true,
        y_score,
        patient_ids,
        label_names=NAMES,
        no_finding="No Finding",
        thresholds=thresholds,
    )
    return result, y_true, y_score, thresholds


def sensitivity_by_sklearn(truth: np.ndarray, values: np.ndarray, specificity: float) -> float:
    """The highest of the ROC curve's points that have this specificity."""
    false_positives, sensitivity, _ = sk.roc_curve(truth, values, drop_intermediate=False)
    return float(sensitivity[1 - false_positives >= specificity - 1e-9].max())


def ece_by_sklearn(truth: np.ndarray, values: np.ndarray) -> float:
    """The mean over images of what its bin's mean probability is off by."""
    seen, told = calibration_curve(truth, values, n_bins=10, strategy="quantile")
    edges = np.quantile(values, np.linspace(0, 1, 11))
    sizes = np.bincount(np.searchsorted(edges[1:-1], values), minlength=10)
    return float(np.sum(np.abs(seen - told) * sizes[sizes > 0]) / len(values))


def test_every_label_agrees_with_sklearn():
    result, y_true, y_score, thresholds = scored()
    assert [row.label for row in result.labels] == list(NAMES)
    for column, row in enumerate(result.labels):
        known = ~np.isnan(y_true[:, column])
        truth, values = y_true[known, column], y_score[known, column].astype(np.float64)
        predicted = values >= thresholds[column]
        expected = {
            "auroc": sk.roc_auc_score(truth, values),
            "average_precision": sk.average_precision_score(truth, values),
            "accuracy": sk.accuracy_score(truth, predicted),
            "precision": sk.precision_score(truth, predicted),
            "recall": sk.recall_score(truth, predicted),
            "specificity": sk.recall_score(truth, predicted, pos_label=0),
            "f1": sk.f1_score(truth, predicted),
            "brier": sk.brier_score_loss(truth, values),
            "ece": ece_by_sklearn(truth, values),
            "sensitivity_at_90": sensitivity_by_sklearn(truth, values, 0.9),
            "sensitivity_at_95": sensitivity_by_sklearn(truth, values, 0.95),
        }
        assert {name: getattr(row, name) for name in expected} == pytest.approx(expected, abs=1e-9)
        assert (row.positives, row.known) == (truth.sum(), known.sum())
        assert row.threshold == thresholds[column]


def test_macro_is_over_counted_labels_and_micro_over_all():
    result, y_true, y_score, _ = scored()
    assert [row.counted for row in result.labels] == [True, True, False, True]
    counted = [row for row in result.labels if row.counted]
    for name in MEASURES:
        expected = np.mean([getattr(row, name) for row in counted])
        assert result.macro[name] == pytest.approx(expected, abs=1e-12)
        assert result.labels_in(name) == 3
    findings = np.mean([row.auroc for row in counted[:2]])
    assert result.macro_auroc_findings == pytest.approx(findings, abs=1e-12)
    known = ~np.isnan(y_true)
    micro = sk.roc_auc_score(y_true[known], y_score[known])
    assert result.micro["auroc"] == pytest.approx(micro, abs=1e-9)
    micro = sk.average_precision_score(y_true[known], y_score[known])
    assert result.micro["average_precision"] == pytest.approx(micro, abs=1e-9)
    assert (result.images, result.patients) == (600, 200)


def test_without_a_no_finding_label_all_labels_are_findings():
    y_true, y_score, patient_ids = predictions(3)
    result = score(
        y_true,
        y_score,
        patient_ids,
        label_names=NAMES,
        no_finding=None,
        thresholds=np.full(4, 0.5),
    )
    assert result.macro_auroc_findings == result.macro["auroc"]


def test_undefined_is_nan_and_says_how_many_labels_are_in_a_mean():
    y_true, y_score, patient_ids = predictions(4)
    result = score(
        y_true,
        y_score,
        patient_ids,
        label_names=NAMES,
        no_finding="No Finding",
        thresholds=np.array([NAN, 2.0, 0.5, 0.5]),
    )
    no_threshold, nothing_predicted, _, good = result.labels
    assert all(math.isnan(getattr(no_threshold, name)) for name in THRESHOLDED)
    assert math.isnan(nothing_predicted.precision)
    assert (nothing_predicted.recall, nothing_predicted.f1) == (0, 0)
    assert nothing_predicted.specificity == 1
    assert result.macro["precision"] == good.precision
    assert result.macro["recall"] == good.recall / 2
    assert (result.labels_in("precision"), result.labels_in("recall")) == (1, 2)


def test_tiny_test_split_has_micro_and_no_macro():
    y_true = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    result = score(
        y_true,
        np.array([[0.9, 0.2], [0.1, 0.8], [0.3, 0.85]]),
        ["a", "b", "c"],
        label_names=("Mass", "Nodule"),
        no_finding=None,
        thresholds=np.full(2, 0.5),
    )
    assert math.isnan(result.macro["auroc"])
    assert math.isnan(result.macro["f1"])
    assert result.micro["auroc"] == 7 / 8
    assert result.labels[0].auroc == 1.0


def test_plain_values_are_strict_json_with_nulls():
    result, *_ = scored()
    told = json.loads(json.dumps(plain(result.to_json()), allow_nan=False))
    assert told["macro_auroc"] == result.macro["auroc"]
    assert told["macro_labels"]["f1"] == 3
    assert told["labels"][0]["label"] == "Effusion"
    assert told["labels"][2]["counted"] is False
    y_true, y_score, patient_ids = predictions(0)
    y_true[:, 1] = 0
    undefined = score(
        y_true,
        y_score,
        patient_ids,
        label_names=NAMES,
        no_finding="No Finding",
        thresholds=np.array([0.5, NAN, 0.5, 0.5]),
    )
    mass = json.loads(json.dumps(plain(undefined.to_json()), allow_nan=False))["labels"][1]
    assert (mass["auroc"], mass["threshold"], mass["recall"]) == (None, None, None)
    assert mass["positives"] == 0


def test_scores_of_a_diverged_model_are_refused():
    y_true, y_score, patient_ids = predictions(0)
    y_score[3, 1] = np.nan
    with pytest.raises(DataError, match="1 of 2400"):
        score(
            y_true,
            y_score,
            patient_ids,
            label_names=NAMES,
            no_finding=None,
            thresholds=np.full(4, 0.5),
        )


@pytest.mark.skipif(
    "CXRBENCH_REAL_DATA" not in os.environ, reason="CXRBENCH_REAL_DATA names no data folder"
)
def test_prevalence_alone_on_nihs_official_test_list():
    """An image-blind predictor: 0.5 macro, yet 0.77 micro with 15 labels."""
    import pandas as pd

    folder = Path(os.environ["CXRBENCH_REAL_DATA"]) / "nih-metadata"
    table = pd.read_csv(folder / "Data_Entry_2017_v2020.csv.gz", dtype=str)
    test_list = gzip.decompress((folder / "test_list.txt.gz").read_bytes()).decode().split()
    labels = table["Finding Labels"].str.get_dummies("|")
    test = table["Image Index"].isin(test_list).to_numpy()
    y_true = labels.to_numpy(np.float32)
    prevalence = y_true[~test].mean(axis=0)
    result = score(
        y_true[test],
        np.tile(prevalence, (int(test.sum()), 1)),
        table["Patient ID"].to_numpy()[test],
        label_names=list(labels),
        no_finding="No Finding",
        thresholds=prevalence,
    )
    assert (result.images, result.patients, result.labels_in("auroc")) == (25_596, 2_797, 15)
    assert result.macro["auroc"] == 0.5
    assert result.micro["auroc"] == pytest.approx(0.77, abs=0.005)
