"""The files of a run directory: complete, in agreement with each other and with scikit-learn."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tiny_parts
from grid_runs import FUSED, LABELS, again, info_of, scores_of
from sklearn.metrics import average_precision_score, roc_auc_score


def test_every_promised_file_is_there(grid):
    path = grid.run_of(FUSED)
    files = {str(f.relative_to(path)) for f in path.rglob("*") if f.is_file()}
    assert files == {
        "run.json",
        "settings.toml",
        "metrics.json",
        "labels.json",
        "bootstrap.npz",
        "bootstrap_details.npz",
        "subgroups.json",
        "predictions.parquet",
        "history.csv",
        "excluded.csv",
        "train_metadata.csv",
        "val_metadata.csv",
        "test_metadata.csv",
        "encoders/grid.npz",
        "encoders/image.npz",
        "encoders/rows.npz",
        "model.weights.h5",
        "model.keras",
    }
    info = info_of(path)
    assert info["status"] == "complete"
    digests = {
        name: hashlib.sha256((path / name).read_bytes()).hexdigest()
        for name in files - {"run.json"}
    }
    assert info["files"] == digests
    conditions = {"fingerprint", "split_hash", "labels", "seed", "weights", "versions", "device"}
    assert conditions | {"precision", "backend", "hardware", "settings"} <= set(info)


def test_a_run_tells_where_its_wall_time_went(grid):
    told = info_of(grid.run_of(FUSED))["seconds"]
    assert list(told) == [
        *("start", "prepare", "encode", "embed", "train", "predict", "score", "save", "other")
    ]
    assert min(told.values()) >= 0
    assert told["other"] < 0.2 * sum(told.values())
    shared = {stage: told[stage] for stage in ("start", "prepare")}
    prior = info_of(grid.run_of("prior"))["seconds"]
    assert prior == {**shared, **{s: prior[s] for s in ("score", "save", "other")}}
    (line,) = (line for line in grid.display.lines if line.startswith(f"time of {FUSED} (seed 0)"))
    assert f"train {told['train']:.1f} s" in line or told["train"] < 0.05


def test_a_run_that_is_used_as_it_is_tells_no_time(grid):
    _, display = again(grid)
    assert any("already complete" in line for line in display.lines)
    assert not any(line.startswith("time of") for line in display.lines)


def test_no_patient_is_in_two_parts(grid):
    path = grid.run_of("grid")
    tables = [pd.read_csv(path / f"{part}_metadata.csv") for part in ("train", "val", "test")]
    patients = [set(table["patient_id"]) for table in tables]
    assert not patients[0] & patients[1]
    assert not patients[0] & patients[2]
    assert not patients[1] & patients[2]
    assert sum(map(len, patients)) == 60
    assert sum(map(len, tables)) == 90


def test_predictions_are_of_val_and_test_with_what_is_known_of_each_image(grid):
    path = grid.run_of(FUSED)
    table = pd.read_parquet(path / "predictions.parquet")
    scores = [f"y_score_{label}" for label in LABELS]
    assert list(table) == [
        *("image", "patient", "split", "age", "sex", "view"),
        *(f"y_true_{label}" for label in LABELS),
        *scores,
    ]
    assert set(table["split"]) == {"val", "test"}
    for part in ("val", "test"):
        told = pd.read_csv(path / f"{part}_metadata.csv")
        rows = table[table["split"] == part].reset_index(drop=True)
        assert list(rows["image"]) == list(told["image_id"])
        np.testing.assert_array_equal(rows["age"], told["age"])
        assert list(rows["sex"].fillna("")) == list(told["sex"].fillna(""))
        for label in LABELS:
            np.testing.assert_array_equal(rows[f"y_true_{label}"], told[label])
    assert table[scores].to_numpy().min() >= 0
    assert table[scores].to_numpy().max() <= 1


@pytest.mark.parametrize("recipe", ["tinynet", FUSED, "grid", "prior"])
def test_scores_agree_with_scikit_learn_on_the_stored_predictions(grid, recipe):
    path = grid.run_of(recipe)
    metrics = json.loads((path / "metrics.json").read_text())
    table = pd.read_parquet(path / "predictions.parquet")
    test = table[table["split"] == "test"]
    truth = test[[f"y_true_{label}" for label in LABELS]].to_numpy(float)
    score = test[[f"y_score_{label}" for label in LABELS]].to_numpy(float)
    aurocs, precisions = [], []
    for column, told in enumerate(json.loads((path / "labels.json").read_text())):
        patients = [test["patient"][truth[:, column] == value].nunique() for value in (0, 1)]
        assert told["label"] == LABELS[column]
        assert told["counted"] == (min(patients) >= 5)
        if told["counted"]:
            aurocs.append(roc_auc_score(truth[:, column], score[:, column]))
            precisions.append(average_precision_score(truth[:, column], score[:, column]))
            assert told["auroc"] == pytest.approx(aurocs[-1], abs=1e-9)
    assert len(aurocs) >= 3
    assert metrics["macro_auroc"] == pytest.approx(np.mean(aurocs), abs=1e-9)
    assert metrics["macro_average_precision"] == pytest.approx(np.mean(precisions), abs=1e-9)
    micro = roc_auc_score(truth.ravel(), score.ravel())
    assert metrics["micro_auroc"] == pytest.approx(micro, abs=1e-9)
    assert (metrics["images"], metrics["patients"]) == (len(test), test["patient"].nunique())


def test_history_has_a_row_for_each_epoch(grid):
    with (grid.run_of("grid") / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(math.isfinite(float(row["loss"])) for row in rows)


def test_encoders_open_without_pickle(grid):
    with np.load(grid.run_of(FUSED) / "encoders" / "rows.npz", allow_pickle=False) as arrays:
        assert arrays["words"].shape == (8, 16)
        assert arrays["standardised_mean"].shape == (8,)


_BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cxrbench", "tiny_parts"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import json, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
arrays = np.load(sys.argv[2])
inputs = {name: arrays[name] for name in arrays.files}
assert {tensor.name for tensor in model.inputs} == set(inputs)
np.save(sys.argv[3], model.predict(inputs, verbose=0))
"""


def test_the_model_opens_without_cxrbench_and_predicts_what_was_stored(grid, tmp_path):
    import cv2

    path = grid.run_of(FUSED)
    table = pd.read_parquet(path / "predictions.parquet")
    dataset = tiny_parts.Drawn()
    cohort = dataset.load()
    rows = [cohort.image_ids.index(image) for image in table["image"]]
    images = [dataset.read(cohort.sources[row], max_pixels=10**9) for row in rows]

    def resized(side):
        return [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images]

    with np.load(path / "encoders" / "rows.npz") as arrays:
        bag = tiny_parts.BagOfWords.fitted.from_arrays(arrays)
    inputs = {
        "image": np.stack(resized(32))[..., None].astype(np.float32),
        "grid": np.stack([tiny_parts.Grid().extract(i, None).descriptors[0] for i in resized(32)]),
        "rows": np.stack([bag.transform(i.astype(np.float32)) for i in resized(16)]),
    }
    np.savez(tmp_path / "inputs.npz", **inputs)
    arguments = [path / "model.keras", tmp_path / "inputs.npz", tmp_path / "scores.npy"]
    subprocess.run([sys.executable, "-c", _BLOCKED, *map(str, arguments)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), scores_of(path), atol=1e-5)
    numbers = 4 * info_of(path)["parameters"]
    assert (path / "model.weights.h5").stat().st_size < 1.2 * numbers + 100_000
