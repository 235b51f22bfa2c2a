"""Exports: they run without cxrbench, for any batch, and nothing else is left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrbench.errors import RunError, SettingsError
from cxrbench.inference import export as exporting
from cxrbench.inference.export import FORMATS, check_free, export
from cxrbench.inference.trained import example_inputs, load_trained
from cxrbench.output.files import file_digest

FUSED = "tinynet+grid+rows:words=8"
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tf2onnx", "onnx", "onnxruntime")),
    reason="the extra onnx is not installed",
)


@pytest.fixture
def fused(grid):
    return grid.run_of(FUSED)


def probabilities(run: Path, registry, count: int = 3) -> tuple[dict, np.ndarray]:
    trained = load_trained(run, registry)
    rng = np.random.default_rng(7)
    inputs = {
        tensor.name: rng.uniform(0, 255, (count, *tensor.shape[1:])).astype(np.float32)
        for tensor in trained.model.inputs
    }
    return inputs, np.asarray(trained.model.predict_on_batch(inputs))


def by_a_stranger(code: str, **environment: str) -> np.ndarray:
    """What a process that cannot import cxrbench prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", "import json, sys; sys.modules['cxrbench'] = None\n" + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1]))


READ = "import numpy as np\ngiven = dict(np.load({inputs!r}))\n"


@pytest.fixture(scope="module")
def keras_file(grid, registry, tmp_path_factory):
    """Exported once for several tests, under the name that it gets by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("exported"))
        done = export(grid.run_of(FUSED), registry, format="keras")
        return replace(done, path=done.path.absolute(), description=done.description.absolute())


def test_a_keras_file_opens_safely_with_keras_alone(fused, registry, tmp_path, keras_file):
    done = keras_file
    inputs, wanted = probabilities(fused, registry)
    np.savez(tmp_path / "in.npz", **inputs)
    found = by_a_stranger(
        READ.format(inputs=str(tmp_path / "in.npz"))
        + "import keras\n"
        + f"model = keras.models.load_model({str(done.path)!r}, safe_mode=True)\n"
        + "print(json.dumps(model.predict_on_batch(given).tolist()))"
    )
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert done.difference <= 1e-6


@needs_onnx
def test_an_onnx_file_takes_the_inputs_by_name_and_any_batch(fused, registry, tmp_path):
    import onnxruntime

    done = export(fused, registry, format="onnx", output=tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    assert sorted(given.name for given in session.get_inputs()) == ["grid", "image", "rows"]
    for count in (1, 3):
        inputs, wanted = probabilities(fused, registry, count)
        np.testing.assert_allclose(session.run(None, inputs)[0], wanted, atol=1e-5)


@pytest.mark.slow
def test_a_saved_model_serves_without_keras(fused, registry, tmp_path):
    done = export(fused, registry, format="saved-model", output=tmp_path / "served")
    inputs, wanted = probabilities(fused, registry)
    np.savez(tmp_path / "in.npz", **inputs)
    found = by_a_stranger(
        "sys.modules['keras'] = None\n"
        + READ.format(inputs=str(tmp_path / "in.npz"))
        + "import tensorflow as tf\n"
        + f"model = tf.saved_model.load({str(done.path)!r})\n"
        + "print(json.dumps(model.serve(given).numpy().tolist()))"
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_description_is_enough_to_use_the_model(fused, keras_file):
    done = keras_file
    assert (done.path.name, done.description.name) == (
        f"{fused.name}.keras",
        f"{fused.name}.keras.json",
    )
    told = json.loads(done.description.read_text())
    info = json.loads((fused / "run.json").read_text())
    labels = json.loads((fused / "labels.json").read_text())
    assert told["labels"] == ["Effusion", "Mass", "Nodule", "No Finding"]
    assert told["thresholds"] == {row["label"]: row["threshold"] for row in labels}
    assert {name: value["shape"] for name, value in told["inputs"].items()} == {
        "image": [None, 32, 32, 1],
        "grid": [None, 16],
        "rows": [None, 8],
    }
    assert told["preprocessing"] == {"image_size": 32, "fit": "stretch", "clahe": False}
    assert told["sha256"] == file_digest(done.path)
    assert told["run"]["run_key"] == info["run_key"]
    assert told["run"]["weights_sha256"] == file_digest(fused / "model.weights.h5")
    assert set(done.path.parent.iterdir()) == {done.path, done.description}


@pytest.mark.slow
def test_features_alone_have_no_image(grid, registry, tmp_path):
    done = export(grid.run_of("grid"), registry, format="keras", output=tmp_path / "model.keras")
    told = json.loads(done.description.read_text())
    assert list(told["inputs"]) == ["grid"]
    assert told["preprocessing"] is None


def test_the_images_it_is_compared_on_span_the_range(fused, registry):
    inputs = example_inputs(load_trained(fused, registry), 5)
    images = inputs["image"]
    assert (images.shape, images.dtype) == ((5, 32, 32, 1), np.float32)
    assert [float(images[row].mean()) for row in (0, 1, 2)] == pytest.approx([0, 255, 127.5])
    assert images.min() == 0
    assert images.max() == 255
    assert inputs["rows"].shape == (5, 8)


# What goes wrong


def failure(run: Path, registry, folder: Path, format: str = "keras") -> str:
    """The error; nothing may be left in the folder."""
    before = sorted(folder.iterdir())
    with pytest.raises((RunError, SettingsError)) as caught:
        export(run, registry, format=format, output=folder / "model")
    assert sorted(folder.iterdir()) == before
    return str(caught.value)


def test_a_file_that_does_not_run_is_no_export(fused, registry, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_EXPORT", "import sys; open(sys.argv[3], 'w').write('no')")
    told = failure(fused, registry, tmp_path, "saved-model")
    assert "cannot be run once written" in told
    assert "another --format" in told


def test_a_model_that_cannot_be_written_is_told(fused, registry, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_EXPORT", "raise SystemExit('no rule for this layer')")
    told = failure(fused, registry, tmp_path, "saved-model")
    assert "cannot be written" in told
    assert "no rule for this layer" in told


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("+ np.float32(2e-4)", "a difference of 0.0002"),
        ("* np.float32('nan')", "a difference of nan"),
        ("[:, :2]", r"outputs of shape (1, 2)"),
        ("[:1]", r"outputs of shape (1, 4)"),
    ],
)
def test_other_probabilities_are_no_export(harm, told, fused, registry, tmp_path, monkeypatch):
    changed = exporting._RUN.replace("for name, value in given.items()}))", f"}})){harm}")
    changed = changed.replace("}))" + harm, "for name, value in given.items()}))" + harm)
    assert changed != exporting._RUN
    monkeypatch.setattr(exporting, "_RUN", changed)
    said = failure(fused, registry, tmp_path)
    assert "the export differs from the run's model" in said
    assert told in said


def test_nothing_is_overwritten(fused, registry, tmp_path):
    for name in ("model", "model.json"):
        (tmp_path / name).write_text("mine")
        assert "already exists" in failure(fused, registry, tmp_path)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_a_description_alone_is_what_a_kill_left(tmp_path):
    model, description = tmp_path / "m.keras", tmp_path / "m.keras.json"
    description.write_text('{"exported_by": "cxrbench 0.1.0"}')
    check_free(model)
    model.touch()
    with pytest.raises(SettingsError, match="already exists"):
        check_free(model)
    model.unlink()
    for text in ("[]", "{}", '{"exported_by": "somebody"}', "no JSON"):
        description.write_text(text)
        with pytest.raises(SettingsError, match=r"m\.keras\.json already exists"):
            check_free(model)


def test_an_unknown_format(fused, registry, tmp_path):
    assert " or ".join(FORMATS) in failure(fused, registry, tmp_path, "pickle")


def test_missing_packages_are_named_with_their_extra(fused, registry, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    told = failure(fused, registry, tmp_path, "onnx")
    assert "no tf2onnx" in told
    assert "pip install 'cxrbench[onnx]'" in told


def test_a_prior_has_no_model(grid, registry, tmp_path):
    assert "has no model" in failure(grid.run_of("prior"), registry, tmp_path)


def test_a_place_that_cannot_be_written(fused, registry, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write the export(?s:.*)--output"):
        export(fused, registry, format="keras", output=tmp_path / "file" / "model.keras")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
@pytest.mark.parametrize("format", ["keras", pytest.param("onnx", marks=needs_onnx), "saved-model"])
def test_every_format_works_on_the_other_backends(format, backend, fused, tmp_path):
    from conftest import install, spawn

    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    install(tmp_path, "cxrbench-tiny", "tiny_parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", backend)
        process = spawn(
            "export", fused, "--format", format, "--output", tmp_path / "model", "--json",
            site=tmp_path,
        )  # fmt: skip
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["difference"] <= 1e-5


def test_what_killed_exports_left_is_removed_and_others_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    prefix = ".model.keras-cxrbench-export-"
    left = tmp_path / f"{prefix}{ended.pid}-abc"
    stay = [
        tmp_path / f"{prefix}{os.getpid()}-abc",  # of a process that goes on
        tmp_path / f".other.keras-cxrbench-export-{ended.pid}-abc",
        tmp_path / f"{prefix}mine",
    ]
    for folder in (left, *stay):
        folder.mkdir()
    exporting._remove_left_over(tmp_path, prefix)
    assert sorted(tmp_path.iterdir()) == sorted(stay)
