"""From recipes to run directories: what is written, what is shared, what is used again."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_parts
from conftest import FAST, Recorder
from sklearn.metrics import average_precision_score, roc_auc_score

import cxrbench
from cxrbench.errors import CxrbenchError, DeviceError, SettingsError, WeightsError
from cxrbench.inference.localise import LocaliseOptions, score_saliency
from cxrbench.inference.trained import load_trained
from cxrbench.modeling.backend import load_keras
from cxrbench.runs.directory import is_complete
from cxrbench.runs.run import read_runs

LABELS = ["Effusion", "Mass", "Nodule", "No Finding"]
FUSED = "tinynet+grid+rows:words=8"


def info_of(path: Path) -> dict:
    return json.loads((path / "run.json").read_text())


def again(grid, recipes=("tinynet", FUSED, "grid"), **changes):
    """The same call as the grid's, or one that differs by ``changes``; also the display."""
    display = Recorder()
    settings = {"data": "drawn", "runs": grid.runs, "cache": grid.cache, "protocol": "probe"}
    settings |= {"seeds": 2, **FAST, **changes}
    return cxrbench.run(list(recipes), display=display, **settings), display


def test_a_batch_size_that_was_found_is_a_number_in_the_run(grid, tmp_path):
    given = {"batch_size": "auto", "runs": tmp_path, "seeds": 1, "epochs": 1}
    for expected in ("measuring batch sizes", "already complete"):
        _, display = again(grid, ["grid"], **given)
        assert any(expected in line for line in display.lines)
    (path,) = (p for p in tmp_path.iterdir() if "grid" in p.name and p.is_dir())
    size = info_of(path)["settings"]["batch_size"]
    assert size in (8, 16, 32, 64)
    assert f"batch_size = {size}\n" in (path / "settings.toml").read_text()
    assert info_of(path)["seconds"]["batch-size"] > 0


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


def test_the_prior_is_on_the_board_and_scores_one_half(grid):
    (board,) = grid.result["boards"]
    (prior,) = [row for row in board["rows"] if row["recipe"] == "prior"]
    assert prior["macro_auroc"] == 0.5
    assert (prior["macro_auroc_low"], prior["macro_auroc_high"]) == (0.5, 0.5)
    assert prior["micro_auroc"] > 0.5
    train = pd.read_csv(grid.run_of("prior") / "train_metadata.csv")
    table = pd.read_parquet(grid.run_of("prior") / "predictions.parquet")
    for label in LABELS:
        share = train[label].mean()
        np.testing.assert_allclose(table[f"y_score_{label}"], share, rtol=1e-6)


def test_a_row_is_the_mean_of_its_seeds(grid):
    (board,) = grid.result["boards"]
    (row,) = [row for row in board["rows"] if row["recipe"] == FUSED]
    runs = [grid.run_of(FUSED, seed) for seed in (0, 1)]
    scores = [json.loads((path / "metrics.json").read_text())["macro_auroc"] for path in runs]
    assert row["seeds"] == 2
    assert row["runs"] == [path.name for path in runs]
    assert row["macro_auroc"] == pytest.approx(np.mean(scores))
    assert row["macro_auroc_sd"] == pytest.approx(np.std(scores, ddof=1))
    assert row["macro_auroc_low"] <= row["macro_auroc"] <= row["macro_auroc_high"]


def test_history_has_a_row_for_each_epoch(grid):
    with (grid.run_of("grid") / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(math.isfinite(float(row["loss"])) for row in rows)


def test_encoders_open_without_pickle(grid):
    with np.load(grid.run_of(FUSED) / "encoders" / "rows.npz", allow_pickle=False) as arrays:
        assert arrays["words"].shape == (8, 16)
        assert arrays["standardised_mean"].shape == (8,)


def test_a_grid_decodes_extracts_and_embeds_nothing_twice(grid):
    assert grid.calls["read"] == 90
    assert grid.calls["grid"] == 90
    assert grid.calls["rows"] == 90
    # Each seed draws other random weights, so there are two embeddings, shared by both recipes.
    assert grid.display.count("embedding") == 2
    assert grid.display.count("training") == 6


def test_a_second_call_uses_what_the_first_one_made(grid):
    tiny_parts.calls.clear()
    result, display = again(grid)
    assert result == grid.result
    assert {name: tiny_parts.calls[name] for name in ("read", "grid", "rows", "build")} == {
        "read": 1,
        "grid": 0,
        "rows": 0,
        "build": 1,
    }  # fmt: skip; one image is compared with that of before, one network is built to see early
    # whether its weights are there
    assert display.tasks == []
    said = [line for line in display.lines if "already complete" in line]
    assert len(said) == 7


def test_another_recipe_pays_only_for_what_is_new(grid, tmp_path):
    tiny_parts.calls.clear()
    _, display = again(grid, ["tinynet+rows:words=8"], runs=tmp_path, seeds=1)
    assert (tiny_parts.calls["read"], tiny_parts.calls["rows"]) == (1, 0)
    assert display.count("embedding") == 0
    assert display.count("training") == 1


def scores_of(path):
    return pd.read_parquet(path / "predictions.parquet").filter(like="y_score_").to_numpy()


def test_an_incomplete_run_is_done_again_with_the_same_result(grid, tmp_path):
    path = tmp_path / grid.run_of("grid").name
    shutil.copytree(grid.run_of("grid"), path)
    before = scores_of(path)
    text = (path / "run.json").read_text().replace('"complete"', '"incomplete"')
    (path / "run.json").write_text(text)
    (path / "left_over").mkdir()
    _, display = again(grid, ["grid"], runs=tmp_path, seeds=1)
    assert display.count("training") == 1
    assert (path / "left_over").exists()  # no run wrote it
    assert is_complete(path)
    np.testing.assert_array_equal(scores_of(path), before)
    _, forced = again(grid, ["grid"], runs=tmp_path, seeds=1, force=True)
    assert forced.count("training") == 1
    np.testing.assert_array_equal(scores_of(path), before)


def test_split_seed_changes_the_split_and_seed_does_not(grid, tmp_path):
    def tested(path):
        return set(pd.read_csv(path / "test_metadata.csv")["image_id"])

    assert tested(grid.run_of("grid", 0)) == tested(grid.run_of("grid", 1))
    result, _ = again(grid, ["prior"], runs=tmp_path, split_seed=1)
    (row,) = result["boards"][0]["rows"]
    assert row["split_seed"] == 1
    assert tested(tmp_path / row["runs"][0]) != tested(grid.run_of("prior"))
    other = info_of(tmp_path / row["runs"][0])
    assert other["board_key"] != info_of(grid.run_of("prior"))["board_key"]
    assert other["fingerprint"] == info_of(grid.run_of("prior"))["fingerprint"]


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


def model_weights(path: Path) -> dict[str, np.ndarray]:
    import h5py

    found = {}
    with h5py.File(path / "model.weights.h5") as file:
        file.visititems(
            lambda name, node: found.update({name: node[()]}) if hasattr(node, "dtype") else None
        )
    return found


@pytest.fixture(scope="module")
def fitted(grid, tmp_path_factory):
    """The run of the fused recipe on the official split of a dataset, once for each dataset."""

    @functools.cache
    def run(options: str) -> Path:
        runs = tmp_path_factory.mktemp("fitted")
        data = f"drawn:official=yes{options}"
        result, _ = again(grid, [FUSED], data=data, runs=runs, seeds=1, split="official")
        rows = {row["recipe"]: row["runs"][0] for row in result["boards"][0]["rows"]}
        return runs / rows[FUSED]

    return run


@pytest.mark.parametrize("change", ["test_labels=flipped", "test_pixels=blank"])
def test_the_test_patients_shape_nothing_that_is_fitted(fitted, change):
    one, two = fitted(""), fitted(f",{change}")
    assert info_of(one)["fingerprint"] != info_of(two)["fingerprint"]
    for encoder in ("grid", "rows"):
        a, b = (dict(np.load(run / "encoders" / f"{encoder}.npz")) for run in (one, two))
        assert sorted(a) == sorted(b)
        for name, value in a.items():
            np.testing.assert_array_equal(value, b[name])
    first, second = model_weights(one), model_weights(two)
    assert sorted(first) == sorted(second)
    assert len(first) > 8
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    thresholds = [
        [label["threshold"] for label in json.loads((p / "labels.json").read_text())]
        for p in (one, two)
    ]
    assert thresholds[0] == thresholds[1]
    if change == "test_pixels=blank":
        assert not np.array_equal(scores_of(one), scores_of(two))


def test_finetune_trains_the_backbone_and_weights_freeze_it_below_freeze_at(grid, tmp_path):
    result, _ = again(grid, ["tinynet"], runs=tmp_path, protocol="finetune", seeds=1)
    row = next(row for row in result["boards"][0]["rows"] if row["recipe"] == "tinynet")
    assert (row["protocol"], row["trains"], row["weights"]) == ("finetune", "all", "none")
    assert row["trainable_parameters"] == row["parameters"]
    file = tmp_path / "tiny.weights.h5"
    tiny_parts.TinyNet().build(32, None).save_weights(file)
    result, _ = again(
        grid, ["tiny"], runs=tmp_path, protocol="finetune", seeds=1, weights=f"tiny={file}"
    )
    row = next(row for row in result["boards"][0]["rows"] if row["recipe"] == "tinynet")
    assert (row["trains"], row["weights"]) == ("from second", "tiny.weights.h5")
    assert row["parameters"] - row["trainable_parameters"] == 3 * 3 * 4 + 4
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert info_of(tmp_path / row["runs"][0])["weights_sha256"] == digest
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    file.rename(moved / file.name)
    _, display = again(
        grid, ["tiny"], runs=tmp_path, protocol="finetune", seeds=1, weights=moved / file.name
    )
    assert display.count("training") == 0, "the same weights from another place are the same run"


def test_weights_that_are_missing_or_do_not_fit(grid, tmp_path):
    with pytest.raises(SettingsError, match="there is no such file"):
        again(grid, ["tinynet"], runs=tmp_path, weights=str(tmp_path / "none.h5"))
    with pytest.raises(SettingsError, match="names a backbone that no recipe uses"):
        again(grid, ["tinynet"], runs=tmp_path, weights=["none", "resnet=x.h5"])
    wrong = tmp_path / "wrong.weights.h5"
    tiny_parts.TinyNet(channels=3).build(32, None).save_weights(wrong)
    with pytest.raises(WeightsError, match="does not fit tinynet") as error:
        again(grid, ["tinynet"], runs=tmp_path, weights=str(wrong))
    assert str(wrong) in str(error.value)
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(WeightsError, match="does not fit tinynet"):
        again(grid, ["tinynet"], runs=tmp_path, weights=f"tinynet={tmp_path / 'text.h5'}")


def test_imagenet_weights_offline_are_an_error_with_advice(grid, tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise Exception("URL fetch failure on http://127.0.0.1:9/none.h5: None -- refused")

    monkeypatch.setattr("keras.utils.get_file", offline)
    with pytest.raises(WeightsError, match="neither cached nor downloadable") as error:
        again(grid, ["tinynet"], runs=tmp_path, weights="imagenet")
    for words in ("URL fetch failure", "--weights tinynet=FILE", "--weights none"):
        assert words in str(error.value)
    assert not any(is_complete(path) for path in tmp_path.iterdir())


def test_a_gpu_that_is_not_there_is_an_error(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("cxrbench.modeling.backend.gpu_names", lambda: ())
    with pytest.raises(DeviceError, match="--device gpu needs a GPU"):
        again(grid, ["tinynet"], runs=tmp_path, device="gpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [{"recipes": []}, {"seeds": 0}, {"seed": -1}, {"threads": 0}, {"epochs": "many"}, {"epoch": 3}],
)
def test_arguments_that_cannot_work(grid, tmp_path, changes):
    with pytest.raises(CxrbenchError):
        again(grid, **{"runs": tmp_path, **changes})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_resnet50_runs_on_a_folder_in_nihs_layout(tiny_nih, tmp_path):
    result = cxrbench.run(
        "resnet+orb:words=8", data=tiny_nih, runs=tmp_path, cache=tmp_path / "c", weights="none",
        image_size=32, epochs=1, fractions=(0.5, 0.2, 0.3),
    )  # fmt: skip
    (board,) = result["boards"]
    assert [row["recipe"] for row in board["rows"]].count("resnet50+orb:words=8") == 1
    assert board["conditions"]["labels_counted"][:2] == ["Effusion", "Mass"]


def test_late_fusion_is_a_run_like_any_other(grid, tmp_path, registry):
    result, display = again(grid, ["tinynet+grid@late"], runs=tmp_path, seeds=1, head=None)
    heads = {row["recipe"]: row["head"] for row in result["boards"][0]["rows"]}
    assert heads == {"tinynet+grid@late": "linear", "prior": "none"}
    (path,) = (p for p in tmp_path.iterdir() if "grid" in p.name and p.is_dir())
    weights = info_of(path)["linear_head"]["weights"]
    assert set(weights) == {"tinynet", "grid"}
    assert any("linear head: weights tinynet" in line for line in display.lines)
    trained = load_trained(path, registry)
    exported = load_keras().models.load_model(path / "model.keras")
    rng = np.random.default_rng(0)
    inputs = {
        tensor.name: rng.uniform(0, 255, (5, *tensor.shape[1:])).astype(np.float32)
        for tensor in exported.inputs
    }
    np.testing.assert_array_equal(
        trained.model.predict(inputs, verbose=0), exported.predict(inputs, verbose=0)
    )


def test_a_linear_head_is_the_default_of_a_probe_and_has_no_epochs(grid, tmp_path, registry):
    result, display = again(grid, ["tinynet+grid"], runs=tmp_path, seeds=1, head=None)
    heads = {row["recipe"]: row["head"] for row in result["boards"][0]["rows"]}
    assert heads == {"tinynet+grid": "linear", "prior": "none"}
    (path,) = (p for p in tmp_path.iterdir() if "grid" in p.name and p.is_dir())
    info = info_of(path)
    assert info["head"] == "linear"
    assert info["best_epoch"] is None
    assert set(info["linear_head"]) == {"strength", "slope", "left_out"}
    assert not (path / "history.csv").exists()
    assert display.count("training") == 0
    trained = load_trained(path, registry)
    exported = load_keras().models.load_model(path / "model.keras")
    assert trained.network.top.count_params() == info["trainable_parameters"]
    rng = np.random.default_rng(0)
    inputs = {
        tensor.name: rng.uniform(0, 255, (5, *tensor.shape[1:])).astype(np.float32)
        for tensor in exported.inputs
    }
    np.testing.assert_array_equal(
        trained.model.predict(inputs, verbose=0), exported.predict(inputs, verbose=0)
    )


def test_a_smoke_test_is_marked_and_on_a_board_of_its_own(grid, tmp_path, registry):
    common = {"image_size": 32, "runs": tmp_path, "cache": grid.folder / "cache"}
    small = cxrbench.run("grid", limit=40, data="drawn:patients=60", **common)
    whole = cxrbench.run("grid", data="drawn:patients=60", **common)
    (row, *_), (full, *_) = small["boards"][0]["rows"], whole["boards"][0]["rows"]
    assert (row["limit"], full["limit"]) == (40, None)
    assert row["board"] != full["board"]
    assert small["boards"][0]["notes"][0].startswith("Smoke test")
    assert not any("Smoke" in note for note in whole["boards"][0]["notes"])
    (run,) = (run for run in read_runs(tmp_path)[0] if run.name == row["runs"][0])
    assert "smoke test (--limit 40)" in run.conditions.data_text
    assert "limit = 40" in (run.path / "settings.toml").read_text()
    with pytest.raises(SettingsError, match="--saliency and --limit cannot be combined"):
        cxrbench.run("grid", limit=40, saliency=True, data="drawn", **common)
    with pytest.raises(SettingsError, match="is a smoke test"):
        score_saliency(
            run, LocaliseOptions(), registry, cache=tmp_path, threads=1, display=grid.display
        )
