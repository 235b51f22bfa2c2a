"""A complete run's model: what it gives, and what cannot be rebuilt."""

from __future__ import annotations

import io
import json
import shutil
from importlib.metadata import entry_points
from pathlib import Path

import cv2
import numpy as np
import pytest

import cxrbench
from cxrbench.errors import RunError
from cxrbench.inference.trained import load_trained
from cxrbench.output.files import file_digest
from cxrbench.registry import load_registry

RECIPES = ("tinynet", "tinynet+grid+rows:words=8", "grid")
BOTH = "tinynet+grid+rows:words=8"


@pytest.fixture
def copy_of(grid, tmp_path):
    """A run's directory to change; ``sign`` makes its files' digests those of what is there."""

    def copy(recipe: str) -> Path:
        return Path(shutil.copytree(grid.run_of(recipe), tmp_path / "copy"))

    return copy


def change_info(run: Path, **changed) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, **changed}))


def sign(run: Path, *names: str) -> None:
    info = json.loads((run / "run.json").read_text())
    change_info(run, files={**info["files"], **{name: file_digest(run / name) for name in names}})


def failure(run: Path, registry) -> str:
    with pytest.raises(RunError) as caught:
        load_trained(run, registry)
    return str(caught.value)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_model_is_the_one_that_was_exported(recipe, grid, registry):
    """Keras opens the export by itself, without cxrbench."""
    import keras

    trained = load_trained(grid.run_of(recipe), registry)
    exported = keras.models.load_model(grid.run_of(recipe) / "model.keras")
    rng = np.random.default_rng(0)
    inputs = {
        tensor.name: rng.uniform(0, 255, (5, *tensor.shape[1:])).astype(np.float32)
        for tensor in trained.model.inputs
    }
    assert set(inputs) == {
        p.partition(":")[0].replace("tinynet", "image") for p in recipe.split("+")
    }
    y_score = trained.model.predict_on_batch(inputs)
    assert y_score.shape == (5, 4)
    np.testing.assert_allclose(y_score, exported.predict_on_batch(inputs), atol=1e-6)


def test_a_run_of_an_earlier_version_standardises_no_image(copy_of, registry):
    run = copy_of(BOTH)
    names = {layer.name for layer in load_trained(run, registry).network.top.layers}
    assert {"image_standardised", "grid_standardised"} <= names
    (run / "encoders" / "image.npz").unlink()
    info = json.loads((run / "run.json").read_text())
    del info["files"]["encoders/image.npz"], info["standardised_image"]
    (run / "run.json").write_text(json.dumps(info))
    older = load_trained(run, registry)
    assert older.run.conditions.standardised_image is False
    names = {layer.name for layer in older.network.top.layers}
    assert names & {"image_standardised", "grid_standardised"} == {"grid_standardised"}


def test_what_stands_beside_the_model(grid, registry):
    path = grid.run_of(BOTH, seed=1)
    trained = load_trained(path, registry)
    labels = json.loads((path / "labels.json").read_text())
    assert trained.recipe.text == BOTH
    assert trained.run.conditions.seed == 1
    assert trained.label_names == ("Effusion", "Mass", "Nodule", "No Finding")
    assert trained.image_size == 32
    assert list(trained.thresholds) == [row["threshold"] for row in labels]
    assert set(trained.encoders) == {"grid", "rows"}
    assert trained.encoders["rows"].transform(np.zeros((3, 16), np.float32)).shape == (8,)
    assert load_trained(grid.run_of("grid"), registry).image_size is None


def test_a_label_without_a_threshold_has_none(copy_of, registry):
    run = copy_of("grid")
    labels = json.loads((run / "labels.json").read_text())
    labels[2]["threshold"] = None
    (run / "labels.json").write_text(json.dumps(labels))
    sign(run, "labels.json")
    thresholds = load_trained(run, registry).thresholds
    assert [value is None for value in thresholds] == [False, False, True, False]


def test_the_prior_has_no_model(grid, registry):
    told = failure(grid.run_of("prior"), registry)
    assert "has no model" in told
    assert "gives every image the same scores" in told


def test_a_folder_that_is_no_run_and_a_run_that_is_incomplete(tmp_path, copy_of, registry):
    assert "has no run.json" in failure(tmp_path, registry)
    run = copy_of("grid")
    change_info(run, status="incomplete")
    assert "is incomplete" in failure(run, registry)


@pytest.mark.parametrize("name", ["model.weights.h5", "encoders/grid.npz"])
def test_a_file_that_is_missing_or_was_changed(name, copy_of, registry):
    run = copy_of("grid")
    path = run / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    told = failure(run, registry)
    assert f"{name} of the run 'copy' is missing or was changed after the run" in told
    assert file_digest(path) in told
    path.unlink()
    told = failure(run, registry)
    assert f"{name} of the run 'copy' is missing or was changed after the run" in told
    assert "No such file" in told


def test_a_plugin_that_is_not_installed(grid):
    builtin = [point for point in entry_points(group="cxrbench") if point.dist is not None]
    told = failure(grid.run_of("tinynet"), load_registry(builtin))
    assert "the recipe 'tinynet' of the run" in told
    assert "there is no backbone or feature named 'tinynet'" in told
    assert "install the plugin" in told


@pytest.mark.parametrize("recipe", ["tinynet:channels=4", "tinynet+grid+rows:words=8", "grid"])
def test_weights_that_do_not_fit_the_recipe(recipe, grid, copy_of, registry):
    """A plugin whose default changed gives another network for the same text."""
    run = copy_of("tinynet")
    shutil.copytree(grid.run_of(BOTH) / "encoders", run / "encoders", dirs_exist_ok=True)
    change_info(run, recipe=recipe)
    sign(run, "encoders/grid.npz", "encoders/rows.npz")
    assert "the network of the run 'copy' does not fit" in failure(run, registry)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"labels": []}, "its labels are not unique, or others count in macro"),
        ({"labels": [1, 2]}, "'labels.0' has no valid value"),
        ({"labels": ["A", "B", "C", "D"]}, "its labels are not unique, or others count in macro"),
        ({"image_size": "32"}, "'image_size' has no valid value"),
        ({"image_size": None}, "the side of the images"),
        ({"image_size": 3}, "the network of the run"),
    ],
)
def test_a_damaged_description(changed, told, copy_of, registry):
    run = copy_of("tinynet")
    change_info(run, **changed)
    assert told in failure(run, registry)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("something was unpickled",))


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"size": np.array([Trap()], dtype=object)}, "plain arrays"),
        ({"standardised_mean": np.zeros(3)}, "plain arrays"),
        ({"size": None}, "the encoder of 'grid'"),
        ({"standardised_variance": None}, "plain arrays"),
        (None, "plain arrays"),
    ],
)
def test_an_encoder_that_is_none(arrays, told, copy_of, registry):
    """Even with a digest to match: whoever can change a file can change that too."""
    run = copy_of("grid")
    path = run / "encoders" / "grid.npz"
    if arrays is None:
        path.write_bytes(b"not a zip file")
    else:
        with np.load(path) as file:
            changed = {**file, **arrays}
        contents = io.BytesIO()
        np.savez(contents, **{name: value for name, value in changed.items() if value is not None})
        path.write_bytes(contents.getvalue())
    sign(run, "encoders/grid.npz")
    assert told in failure(run, registry)


def test_a_weights_file_that_is_none(copy_of, registry):
    run = copy_of("grid")
    (run / "model.weights.h5").write_bytes(b"not HDF5")
    sign(run, "model.weights.h5")
    assert "the network of the run 'copy' does not fit" in failure(run, registry)


@pytest.mark.parametrize(
    "command", ["predict", "explain", "localise", "report", "predict in Python"]
)
def test_every_command_that_computes_names_a_gpu_that_it_cannot_use(
    cli, grid, tmp_path, monkeypatch, recorder, command
):
    sentence = "this machine has a GPU, but tensorflow computes on the CPU"
    monkeypatch.setattr("cxrbench.inference.trained.unused_gpu", lambda: sentence)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 64), 90, np.uint8))
    run = grid.run_of("tinynet")
    runs = shutil.copytree(grid.runs, tmp_path / "runs")
    places = ("--runs", runs, "--cache", grid.cache, "--data", "drawn")
    arguments = {
        "predict": ("predict", run, tmp_path / "a.png"),
        "explain": ("explain", run, tmp_path / "a.png", "--output", tmp_path / "explained"),
        "localise": ("localise", runs / run.name, *places),
        "report": ("report", runs / run.name, *places, "--output", tmp_path / "report.html"),
    }
    if command in arguments:
        said = cli(*arguments[command])
        assert said.code == 0, said.err
        assert sentence in said.err
        assert sentence not in cli(*arguments[command], "--device", "cpu").err
    else:
        cxrbench.predict(run, [tmp_path / "a.png"], display=recorder)
        assert sentence in recorder.lines
