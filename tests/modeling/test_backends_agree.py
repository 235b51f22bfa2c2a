"""TensorFlow, JAX and PyTorch: the same weights predict alike, and a whole run works on each."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import install, spawn

TOLERANCE = 1e-4

# Rebuilds the network; the first to run writes the weights, the others read them. Then one step of
# training with dropout off shows that loss and gradients agree too.
WORKER = """
import sys
from pathlib import Path
import numpy as np
from small_cnn import SmallCNN, small_pictures
from cxrbench.builtin.concat import Concat
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.inputs import training_view
from cxrbench.modeling.predict import keras_predictor, predict_logits
from cxrbench.modeling.train import masked_cross_entropy

keras, folder = load_keras(), Path(sys.argv[1])
pictures, rows = small_pictures(), np.arange(96)
statistics = {"age": feature_statistics(pictures.features["age"], rows)}
trunk = build_trunk(SmallCNN(), 32, None, 0)
network = build_top(trunk, Concat(dropout=0), statistics, labels=3, seed=0)
model = network.whole()
weights = folder / "model.weights.h5"
if weights.exists():
    model.load_weights(weights)
else:
    model.save_weights(weights)
found = {"before": predict_logits(keras_predictor(model, pictures), pictures, rows, 32)}
network.top.get_layer("head_dropout").rate = 0
view = training_view(model, image_size=32, augmented=False)
view.compile(keras.optimizers.SGD(0.3), masked_cross_entropy)
found["loss"] = float(view.train_on_batch(pictures.gather(rows), pictures.labels))
found["after"] = predict_logits(keras_predictor(model, pictures), pictures, rows, 32)
np.savez(folder / f"{keras.backend.backend()}.npz", **found)
"""


def on_backend(name: str, monkeypatch) -> None:
    """The processes to come use this backend; skips where it cannot be imported."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds the weights and predictions of TensorFlow."""
    folder = tmp_path_factory.mktemp("backends")
    with pytest.MonkeyPatch.context() as patch:
        on_backend("tensorflow", patch)
        predictions_of("tensorflow", folder)
    return folder


def predictions_of(name: str, folder: Path) -> dict[str, np.ndarray]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_same_weights_predict_and_train_alike(name, folder, monkeypatch):
    on_backend(name, monkeypatch)
    with np.load(folder / "tensorflow.npz") as file:
        expected = dict(file)
    found = predictions_of(name, folder)
    assert np.abs(expected["after"] - expected["before"]).max() > 100 * TOLERANCE
    for moment in ("before", "loss", "after"):
        np.testing.assert_allclose(found[moment], expected[moment], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("tensorflow", "finetune"),
        pytest.param("jax", "finetune", marks=pytest.mark.slow),
        pytest.param("jax", "probe", marks=pytest.mark.slow),
        pytest.param("torch", "finetune", marks=pytest.mark.torch),
        pytest.param("torch", "probe", marks=pytest.mark.torch),
    ],
)
def test_a_run_gives_a_board_and_no_noise(name, protocol, tmp_path, monkeypatch):
    on_backend(name, monkeypatch)
    install(tmp_path / "site", "tiny-parts", "tiny_parts")
    process = spawn(
        *("run", "tinynet+grid", "--data", "drawn:patients=150", "--protocol", protocol, "--json"),
        *("--epochs", 8, "--learning-rate", "0.01", "--device", "cpu"),
        *("--runs", tmp_path / "runs", "--cache", tmp_path / "cache"),
        site=tmp_path / "site",
    )
    out, err = process.communicate()
    assert process.returncode == 0, err
    rows = {row["recipe"]: row for board in json.loads(out)["boards"] for row in board["rows"]}
    assert set(rows) == {"tinynet+grid", "prior"}
    assert rows["prior"]["macro_auroc"] == 0.5
    assert rows["tinynet+grid"]["macro_auroc"] > 0.8
    info = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/run.json")]
    assert {run["backend"] for run in info} == {name, "none"}
    for sign in ("I0000", "E0000", "WARNING", "Warning", "Traceback", "oneDNN", "cuda"):
        assert sign not in err
