"""Engines: OpenVINO says what Keras says, in float32, and one machine always takes the same one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import environment
from small_cnn import SmallCNN, small_pictures

from cxrbench.builtin.concat import Concat
from cxrbench.errors import DeviceError, SettingsError
from cxrbench.modeling import engine
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics
from cxrbench.modeling.engine import choose_engine, predictor

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


def small_model(seed: int = 0, *, mean: float = 0.0):
    """Pixels and two feature vectors to probabilities, and a batch for it."""
    vectors = {"wide-one": np.full((4, 9), mean, np.float32), **small_pictures().features}
    statistics = {
        name: feature_statistics(value, np.arange(len(value))) for name, value in vectors.items()
    }
    trunk = build_trunk(SmallCNN(), 32, None, seed)
    network = build_top(trunk, Concat(), statistics, labels=3, seed=seed)
    return network.whole(probabilities=True)


def batch(count: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "age": rng.normal(50, 20, (count, 4)).astype(np.float32),
        "image": rng.uniform(0, 255, (count, 32, 32, 1)).astype(np.float32),
        "wide-one": rng.normal(0, 1, (count, 9)).astype(np.float32),
    }


def choose(cache: Path, display, wanted="auto", model=None, **changed) -> str:
    told = {"device": "cpu", "precision": "float32", "images": 10_000, **changed}

    def network():
        return small_model() if model is None else model, batch()

    return choose_engine(wanted, network, **told, cache=cache, display=display)


@pytest.fixture
def speeds(monkeypatch):
    """Stands for the measurement: images per second that can be set, and how often it was asked."""

    class Measured:
        keras, openvino, reason, times = 100.0, 200.0, "", 0

    def measure(model, example):
        Measured.times += 1
        return engine._Speeds(Measured.keras, Measured.openvino, Measured.reason)

    monkeypatch.setattr(engine, "_measure", measure)
    monkeypatch.setattr(engine, "_openvino_is_installed", lambda: True)
    monkeypatch.setattr(engine, "_load_openvino", lambda: SimpleNamespace(__version__="1.0"))
    return Measured


# What they compute


@needs_openvino
def test_openvino_predicts_what_keras_predicts():
    model, images = small_model(), batch()
    found = predictor(model, "openvino", images)
    wanted = predictor(model, "keras", images)(images)
    assert wanted.shape == (6, 3)
    np.testing.assert_allclose(found(images), wanted, atol=1e-6)
    other = {name: value[::-1] for name, value in reversed(batch().items())}
    np.testing.assert_allclose(found(other), wanted[::-1], atol=1e-6)
    first = found(images)
    found(other)
    np.testing.assert_allclose(first, wanted, atol=1e-6)  # a later batch leaves it as it was


@needs_openvino
def test_a_model_with_one_input_is_called_with_an_array():
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    images = batch()["image"]
    found = predictor(trunk, "openvino", images)(images)
    wanted = np.asarray(trunk(images, training=False))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@needs_openvino
def test_a_batch_of_another_shape_is_refused():
    predict = predictor(small_model(), "openvino", batch())
    with pytest.raises(ValueError, match="expected inputs of the shapes"):
        predict(batch(2))


@needs_openvino
def test_an_input_that_nothing_depends_on():
    import keras

    image, idle = keras.Input((4, 4, 1), name="image"), keras.Input((2,), name="idle")
    model = keras.Model({"image": image, "idle": idle}, keras.layers.Flatten()(image))
    given = {"idle": np.ones((3, 2), np.float32), "image": np.ones((3, 4, 4, 1), np.float32)}
    assert predictor(model, "openvino", given)(given).tolist() == np.ones((3, 16)).tolist()


@needs_openvino
def test_openvino_is_compiled_for_float32(monkeypatch):
    """A CPU with bfloat16 would use it otherwise; this one may have none: the hint tells."""
    import openvino

    compiled = []

    class Core(openvino.Core):
        def compile_model(self, *arguments):
            compiled.append(super().compile_model(*arguments))
            return compiled[-1]

    monkeypatch.setattr(openvino, "Core", Core)
    predictor(small_model(), "openvino", batch())
    assert compiled[0].get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


@needs_openvino
def test_importing_openvino_reports_nothing():
    code = (
        "import sys; from cxrbench.modeling.engine import _load_openvino; _load_openvino();"
        "print(sum(name.split('.')[0] == 'openvino_telemetry' for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


@needs_openvino
def test_a_network_that_came_out_differently_is_refused(monkeypatch):
    converted = engine._converted

    def tampered(model, shapes):
        changed = small_model()
        values = [value.copy() for value in model.get_weights()]
        values[-1] += 0.01
        changed.set_weights(values)
        return converted(changed, shapes)

    monkeypatch.setattr(engine, "_converted", tampered)
    with pytest.raises(DeviceError, match=r"do not agree(?s:.*)--engine keras"):
        predictor(small_model(), "openvino", batch())


@pytest.mark.parametrize(
    ("wanted", "found", "agrees"),
    [
        ([0.5, 0.9], [0.50008, 0.9], True),
        ([0.5, 0.9], [0.5001, 0.9], False),
        ([40.0, -2.0], [40.003, -2.0], True),
        ([40.0, -2.0], [40.0, -2.005], False),
        ([0.0, 0.0], [0.0, 1e-8], True),
        ([0.0, np.nan], [0.0, np.nan], True),
        ([0.0, 1.0], [0.0, np.nan], False),
        ([0.0, 1.0], [0.0], False),
    ],
)
def test_how_close_is_close_enough(wanted, found, agrees):
    told = engine._disagreement(np.float32(wanted), np.float32(found))
    assert (told is None) is agrees


@needs_openvino
def test_a_network_in_another_precision_is_refused():
    import keras

    image = keras.Input((8,))
    model = keras.Model(image, keras.layers.Dense(2, dtype="mixed_bfloat16")(image))
    with pytest.raises(DeviceError, match=r"another precision(?s:.*)--engine keras"):
        predictor(model, "openvino", np.zeros((1, 8), np.float32))


@needs_openvino
def test_a_network_that_cannot_be_converted_is_told(monkeypatch):
    def fails(model, shapes):
        raise engine._NotConverted("no rule for the operation Strange")

    monkeypatch.setattr(engine, "_converted", fails)
    with pytest.raises(
        DeviceError, match=r"cannot compute this(?s:.*)Strange(?s:.*)--engine keras"
    ):
        predictor(small_model(), "openvino", batch())


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_openvino_agrees_on_the_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = (
        "import numpy as np; from test_engine import *; model, images = small_model(), batch();"
        "found = predictor(model, 'openvino', images)(images);"
        "np.testing.assert_allclose(found, predictor(model, 'keras', images)(images), atol=1e-6);"
        "print(engine.load_keras().backend.backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(Path(__file__).parent), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{backend}\n"


# Which one is taken


def test_what_is_asked_for_is_taken_unmeasured(tmp_path, recorder, speeds):
    for wanted in ("keras", "openvino"):
        assert choose(tmp_path, recorder, wanted) == wanted
    assert (speeds.times, recorder.lines, list(tmp_path.iterdir())) == (0, [], [])


def test_an_unknown_engine(tmp_path, recorder):
    with pytest.raises(
        SettingsError, match=r"no engine 'tensorrt'(?s:.*)auto or keras or openvino"
    ):
        choose(tmp_path, recorder, "tensorrt")
    with pytest.raises(SettingsError, match="no engine 'auto'"):
        predictor(small_model(), "auto", batch())


def test_openvino_is_not_installed(tmp_path, recorder, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choose(tmp_path, recorder) == "keras"
    with pytest.raises(DeviceError, match=r"pip install 'cxrbench\[openvino\]'"):
        choose(tmp_path, recorder, "openvino")
    with pytest.raises(DeviceError, match=r"pip install 'cxrbench\[openvino\]'"):
        predictor(small_model(), "openvino", batch())
    assert recorder.lines == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"device": "gpu"}, "--device gpu"), ({"precision": "bfloat16"}, "--precision bfloat16")],
)
def test_openvino_is_for_cpus_in_float32(changed, told, tmp_path, recorder, speeds):
    assert choose(tmp_path, recorder, **changed) == "keras"
    assert speeds.times == 0
    with pytest.raises(DeviceError, match=f"{told}(?s:.*)--engine keras"):
        choose(tmp_path, recorder, "openvino", **changed)


@pytest.mark.parametrize(
    ("openvino", "taken"), [(200.0, "openvino"), (104.0, "keras"), (106.0, "openvino")]
)
def test_auto_takes_the_faster_and_a_tie_is_keras(openvino, taken, tmp_path, recorder, speeds):
    speeds.openvino = openvino
    assert choose(tmp_path, recorder) == taken
    assert recorder.lines == [f"  engine {taken}: OpenVINO {openvino:.1f} images/s, Keras 100.0"]


def test_auto_takes_keras_where_openvino_cannot_be_used(tmp_path, recorder, speeds):
    speeds.openvino, speeds.reason = None, "OpenVINO cannot compute this network"
    for _ in range(2):
        assert choose(tmp_path, recorder) == "keras"
    assert speeds.times == 1
    assert recorder.lines == ["  engine keras: OpenVINO cannot compute this network"]


def test_the_choice_is_kept_for_the_same_network_whatever_its_weights(tmp_path, recorder, speeds):
    assert choose(tmp_path, recorder) == "openvino"
    speeds.openvino = 1.0
    assert choose(tmp_path, recorder) == "openvino"
    assert choose(tmp_path, recorder, model=small_model(seed=1, mean=5.0)) == "openvino"
    assert speeds.times == 1
    assert len(recorder.lines) == 1
    (path,) = (tmp_path / "engines").glob("*.json")
    kept = json.loads(path.read_bytes())
    assert kept["chosen"] == "openvino"
    assert kept["about"]["cpus"] == len(os.sched_getaffinity(0))


def test_another_network_shape_or_machine_is_measured_again(
    tmp_path, recorder, speeds, monkeypatch
):
    import keras

    choose(tmp_path, recorder)
    image = keras.Input((32, 32, 1))
    choose(tmp_path, recorder, model=keras.Model(image, keras.layers.Flatten()(image)))
    assert speeds.times == 2
    monkeypatch.setattr("test_engine.batch", lambda: {"image": np.zeros((9, 32, 32, 1))})
    choose(tmp_path, recorder)
    assert speeds.times == 3
    monkeypatch.setattr(engine, "hardware", lambda device: {"device": "other", "cpus": 2})
    choose(tmp_path, recorder)
    assert speeds.times == 4


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}"])
def test_a_damaged_choice_is_measured_again(damage, tmp_path, recorder, speeds):
    choose(tmp_path, recorder)
    (path,) = (tmp_path / "engines").glob("*.json")
    path.write_bytes(damage)
    assert choose(tmp_path, recorder) == "openvino"
    assert speeds.times == 2
    assert json.loads(path.read_bytes())["chosen"] == "openvino"


WORKER = """
import os, sys, time
from pathlib import Path
from test_engine import *
from cxrbench.reporting.display import SilentDisplay

def measure(model, example):
    with Path(sys.argv[1], "log").open("a") as file:
        file.write("measured\\n")
    time.sleep(1)
    return engine._Speeds(100.0, 50.0 + 100 * (os.getpid() % 2))

engine._measure = measure
print(choose(Path(sys.argv[1]), SilentDisplay()))
"""


@needs_openvino
def test_two_processes_at_once_take_the_same_engine(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)],
            env=environment(Path(__file__).parent),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert (tmp_path / "log").read_text() == "measured\n"


@needs_openvino
def test_measuring_really_measures_both(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(engine, "_SECONDS", 0.1)
    taken = choose(tmp_path, recorder)
    (line,) = recorder.lines
    told = re.fullmatch(r"  engine (\w+): OpenVINO ([\d.]+) images/s, Keras ([\d.]+)", line)
    assert told
    assert told[1] == taken
    assert min(float(told[2]), float(told[3])) > 0
