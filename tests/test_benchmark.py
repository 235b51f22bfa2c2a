"""`cxrbench.run`: rows, seeds, splits, protocols, heads, weights and arguments that cannot work."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import tiny_parts
from grid_runs import FUSED, LABELS, again, info_of

import cxrbench
from cxrbench.errors import CxrbenchError, DeviceError, SettingsError, WeightsError
from cxrbench.inference.localise import LocaliseOptions, score_saliency
from cxrbench.inference.trained import load_trained
from cxrbench.modeling.backend import load_keras
from cxrbench.runs.directory import is_complete
from cxrbench.runs.run import read_runs


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


def test_maps_are_computed_on_the_processor_if_that_is_the_device(grid, monkeypatch):
    devices = []
    monkeypatch.setattr(
        "cxrbench.benchmark.score_all",
        lambda *arguments, device, **options: devices.append(device),
    )
    for given in ({}, {"device": "cpu"}):
        again(grid, ["grid"], saliency=True, **given)
    assert devices == ["auto", "cpu"]
