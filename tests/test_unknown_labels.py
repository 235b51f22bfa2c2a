"""A label that is known of no image of a split or a group: undefined there, and nothing breaks."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.metrics.auroc import (
    clustered_aurocs,
    label_average_precision,
    validation_scores,
)
from cxrbench.metrics.bootstrap import bootstrap
from cxrbench.metrics.calibration import METHODS, calibrate, reliability
from cxrbench.metrics.curves import co_occurrence, confusion_matrices, label_curves
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import counted_labels, patient_table
from cxrbench.metrics.resampling import board_resampler
from cxrbench.metrics.scores import score
from cxrbench.metrics.thresholds import choose_thresholds
from cxrbench.runs.assessment import assess, scoring_of
from cxrbench.runs.predictions import Predictions

LABELS = ("Mass", "Edema", "Hernia")


def arrays(known: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, scores and patients of 120 images of 60 patients."""
    rng = np.random.default_rng(0)
    y_true = (rng.random((120, 3)) < [0.3, 0.5, 0.4]).astype(np.float32)
    y_true[:, [name not in known.split("+") for name in LABELS]] = np.nan
    patients = np.repeat(np.arange(60), 2).astype(str)
    rows = slice(0, 0) if known == "no images" else slice(None)
    return y_true[rows], rng.random((120, 3))[rows], patients[rows]


KNOWN = ("Mass+Edema", "Mass", "none", "no images")


@pytest.mark.parametrize("known", KNOWN)
def test_every_reduction_of_a_label_without_known_images_is_undefined(known):
    y_true, y_score, patients = arrays(known)
    names, thresholds = known.split("+"), np.full(3, 0.5)
    counted = counted_labels(y_true, patients)
    assert counted.tolist() == [name in names for name in LABELS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(
            y_true, y_score, patients, label_names=LABELS, no_finding=None, thresholds=thresholds
        )
        drawn = bootstrap(
            y_true, y_score, patients, counted, board_key="k", replicates=20, thresholds=thresholds
        )
        for row, is_known in zip(scores.labels, counted, strict=True):
            assert all(np.isnan(getattr(row, name)) != is_known for name in MEASURES)
        assert (
            np.isnan(scores.macro["auroc"]) == np.isnan(scores.micro["ece"]) == (not any(counted))
        )
        assert np.isfinite(drawn.labels["ece"]).all(axis=1).tolist() == counted.tolist()
        for method in METHODS:
            assert calibrate(method, y_true, y_score).apply(y_score).shape == y_score.shape
        assert np.isfinite(choose_thresholds(y_true, y_score)).tolist() == counted.tolist()
        assert validation_scores(y_true, y_score).labels == sum(counted)
        assert np.isfinite(label_average_precision(y_true, y_score)).tolist() == counted.tolist()
        y_pred = (y_score > 0.5).astype(float)
        assert confusion_matrices(y_true, y_pred)[~counted].sum() == 0
        assert np.isnan(co_occurrence(y_true)[~counted]).all()
        assert np.isnan(clustered_aurocs(y_true[:, 2], y_score[None, :, 2], patients).values).all()
        assert len(reliability(y_true[:, 2], y_score[:, 2], patients).images) == 0
        table = patient_table(y_true, patients)
        resampler = board_resampler("k", table, counted)
        args = y_true[:, 2], y_score[None, :, 2], table.index, resampler
        assert np.isnan(label_curves(*args, replicates=5).roc.value).all()


def predictions(known: str, *, sexes: np.ndarray | None = None) -> Predictions:
    y_true, y_score, patients = arrays(known)
    if sexes is None:
        sexes = np.resize(["F", "M"], len(y_true))
    return Predictions(
        image_ids=np.arange(len(y_true)).astype(str),
        patients=patients,
        patients_known=True,
        label_names=LABELS,
        no_finding="Hernia",
        counted=counted_labels(y_true, patients),
        y_true=y_true,
        y_score=y_score,
        ages=np.full(len(y_true), 50, np.float32),
        sexes=sexes,
        views=np.resize(["PA", "PA", "AP"], len(y_true)),
    )


@pytest.mark.parametrize("calibration", METHODS)
@pytest.mark.parametrize("val", KNOWN[:3])
@pytest.mark.parametrize("test", KNOWN[:3])
def test_a_run_is_assessed_whatever_its_splits_know(test, val, calibration):
    result = assess(
        predictions(test),
        predictions(val),
        board_key="k",
        scoring=scoring_of(calibration),
        replicates=20,
    )
    known = {name for name in LABELS if name in test.split("+")}
    assert {row.label for row in result.scores.labels if np.isfinite(row.auroc)} == known
    assert np.isfinite(result.auroc_errors).sum() == len(known)


def test_a_label_that_one_group_does_not_know_is_undefined_there_alone():
    test = predictions("Mass+Edema+Hernia")
    test.y_true[test.sexes == "F", 2] = np.nan
    result = assess(test, test, board_key="k", scoring=scoring_of(), replicates=20)
    sex = result.subgroups[0]
    women, men = sex.groups
    assert sex.counted == ("Mass", "Edema")
    assert np.isnan(women.labels["Hernia"]["ece"].value)
    assert np.isnan(women.labels["Hernia"]["auroc"].low)
    assert np.isfinite(men.labels["Hernia"]["ece"].value)


def test_a_group_without_a_known_entry_is_too_small():
    test = predictions("Mass+Edema+Hernia")
    test.y_true[test.sexes == "F"] = np.nan
    result = assess(test, test, board_key="k", scoring=scoring_of(), replicates=20)
    sex = result.subgroups[0]
    assert ([group.name for group in sex.groups], sex.too_small) == (["M"], ("F",))


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """80 patients with two images; nobody looked for Hernia in the first 40, the tested ones."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image": [f"{number:03}.png" for number in range(160)]})
    table["patient"] = np.repeat(np.arange(80), 2)
    table["sex"] = np.where(table["patient"] % 2, "M", "F")
    for name, share in zip(LABELS, (0.3, 0.5, 0.4), strict=True):
        table[name] = (rng.random(160) < share).astype(float)
    table.loc[table["patient"] < 40, "Hernia"] = np.nan
    table.loc[table["sex"] == "F", "Edema"] = np.nan
    table.to_csv(tmp_path / "labels.csv", index=False)
    return table


def test_submit_and_all_that_reads_runs(cli, table, tmp_path):
    tested = table[table["patient"] < 40]
    places = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    for name, seed in (("ours", 1), ("theirs", 2)):
        rng = np.random.default_rng(seed)
        scores = pd.DataFrame(rng.random((80, 3)), columns=[f"prob_{label}" for label in LABELS])
        scores.insert(0, "image", tested["image"].to_numpy())
        scores.to_csv(tmp_path / f"{name}.csv", index=False)
        said = cli(
            "submit", name, tmp_path / f"{name}.csv", "--data", tmp_path / "labels.csv",
            "--split", "predictions", *places,
        )  # fmt: skip
        assert said.code == 0, said.err
    runs = ("--runs", tmp_path / "runs")
    board = cli("leaderboard", *runs, "--per-label", "--json")
    assert board.code == 0, board.err
    (only,) = json.loads(board.out)["boards"]
    assert only["conditions"]["labels_counted"] == ["Mass", "Edema"]
    rows = {(row["recipe"], row["label"]): row for row in only["per_label"]}
    assert {rows["ours", "Hernia"][name] for name in MEASURES} == {None}
    assert rows["ours", "Edema"]["auroc"] is not None
    for command in (
        ("leaderboard", *runs, "--per-label"),
        ("leaderboard", *runs, "--ablation"),
        ("compare", "ours", "theirs", *runs),
        ("score", next((tmp_path / "runs").glob("*-ours-*"))),
        ("figures", "ours", "theirs", *runs, "--output", tmp_path / "figures", "--format", "svg"),
        ("figures", "ours", *runs, "--output", tmp_path / "f", "--label", "Hernia"),
        ("report", "ours", "theirs", *runs, "--output", tmp_path / "report.html"),
    ):
        said = cli(*command)
        assert said.code == 0, (command, said.err)
    assert "Hernia" in cli("compare", "ours", "theirs", *runs).out


def test_a_label_that_the_training_split_does_not_know(cli, table, tmp_path):
    """The prior has no prevalence of it, and ranks nobody all the same."""
    table["Hernia"] = np.where(table["patient"] < 40, table["Mass"], np.nan)
    table.to_csv(tmp_path / "labels.csv", index=False)
    tested = table[table["patient"] < 40]
    scores = tested[["image", *LABELS]].fillna(0)
    scores.columns = ["image", *(f"prob_{label}" for label in LABELS)]
    scores.to_csv(tmp_path / "ours.csv", index=False)
    said = cli(
        "submit", "ours", tmp_path / "ours.csv", "--data", tmp_path / "labels.csv",
        "--split", "predictions", "--runs", tmp_path / "runs", "--cache", tmp_path / "c", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    rows = {row["recipe"]: row for row in json.loads(said.out)["boards"][0]["rows"]}
    assert rows["prior"]["macro_auroc"] == 0.5
