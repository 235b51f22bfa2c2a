"""Which engine is taken: the fastest here, the same one every time, and never a surprise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import environment
from engine_networks import batch, small_model
from test_engine import needs_openvino

from cxrbench.errors import DeviceError, SettingsError
from cxrbench.modeling import engines
from cxrbench.modeling.engines import choose_engine


def chosen(cache: Path, display, wanted="auto", model=None, **changed) -> str:
    told = {"device": "cpu", "precision": "float32", "images": 10_000, **changed}

    def network():
        return small_model() if model is None else model, batch()

    return choose_engine(wanted, network, **told, cache=cache, display=display)


@pytest.fixture
def speeds(monkeypatch):
    """Stands for the measurement: images per second that can be set, and how often it was asked."""

    class Measured:
        rates, reason, times = {"keras": 100.0, "openvino": 200.0}, "", 0

    def ready(model, engine, example):
        if engine == "openvino" and Measured.reason:
            raise DeviceError(Measured.reason)
        return lambda batch: None

    def rates(predictors, example):
        Measured.times += 1
        assert list(predictors) == list(Measured.rates)
        return Measured.rates

    monkeypatch.setattr(engines, "predictor", ready)
    monkeypatch.setattr(engines, "_rates", rates)
    monkeypatch.setattr(engines, "_has_openvino", lambda: True)
    monkeypatch.setattr(engines, "version", lambda name: "1.0")
    return Measured


def test_what_is_asked_for_is_taken_unmeasured(tmp_path, recorder, speeds):
    for wanted in ("keras", "openvino"):
        assert chosen(tmp_path, recorder, wanted) == wanted
    assert (speeds.times, recorder.lines, list(tmp_path.iterdir())) == (0, [], [])


def test_an_unknown_engine(tmp_path, recorder):
    with pytest.raises(
        SettingsError, match=r"no engine 'tensorrt'(?s:.*)auto or keras or openvino\n"
    ):
        chosen(tmp_path, recorder, "tensorrt")


def test_an_engine_of_older_versions(tmp_path, recorder):
    with pytest.raises(SettingsError, match=r"no engine 'keras-jax'(?s:.*)auto or keras or open"):
        chosen(tmp_path, recorder, "keras-jax")


def test_nothing_else_is_installed(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert chosen(tmp_path, recorder) == "keras"
    with pytest.raises(DeviceError, match=r"pip install 'cxrbench\[openvino\]'"):
        chosen(tmp_path, recorder, "openvino")
    assert recorder.lines == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"device": "gpu"}, "--device gpu"), ({"precision": "bfloat16"}, "--precision bfloat16")],
)
def test_openvino_is_for_cpus_in_float32(changed, told, tmp_path, recorder, speeds):
    assert chosen(tmp_path, recorder, **changed) == "keras"
    assert speeds.times == 0
    with pytest.raises(DeviceError, match=f"{told}(?s:.*)--engine keras"):
        chosen(tmp_path, recorder, "openvino", **changed)


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ({"openvino": 200.0}, "openvino"),
        ({"openvino": 104.0}, "keras"),
        ({"openvino": 106.0}, "openvino"),
    ],
)
def test_auto_takes_the_fastest_and_a_tie_is_keras(rates, taken, tmp_path, recorder, speeds):
    speeds.rates = {"keras": 100.0, **rates}
    assert chosen(tmp_path, recorder) == taken
    told = ", ".join(f"{name} {rate:.1f} images/s" for name, rate in speeds.rates.items())
    assert recorder.lines == [f"  engine {taken}: {told}"]


def test_auto_takes_keras_where_nothing_else_can_be_used(tmp_path, recorder, speeds):
    speeds.rates, speeds.reason = {"keras": 100.0}, "an operation Strange"
    for _ in range(2):
        assert chosen(tmp_path, recorder) == "keras"
    assert speeds.times == 1
    assert recorder.lines == [
        "  engine keras: keras 100.0 images/s, not openvino (an operation Strange)"
    ]


def test_the_choice_is_kept_for_the_same_network_whatever_its_weights(tmp_path, recorder, speeds):
    assert chosen(tmp_path, recorder) == "openvino"
    speeds.rates = {"keras": 100.0, "openvino": 1.0}
    assert chosen(tmp_path, recorder) == "openvino"
    assert chosen(tmp_path, recorder, model=small_model(seed=1, mean=5.0)) == "openvino"
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

    chosen(tmp_path, recorder)
    image = keras.Input((32, 32, 1))
    chosen(tmp_path, recorder, model=keras.Model(image, keras.layers.Flatten()(image)))
    assert speeds.times == 2
    wider = {"image": np.zeros((9, 32, 32, 1))}
    monkeypatch.setattr("test_engine_choice.batch", lambda: wider)
    chosen(tmp_path, recorder)
    assert speeds.times == 3
    monkeypatch.setattr(engines, "hardware", lambda device: {"device": "other", "cpus": 2})
    chosen(tmp_path, recorder)
    assert speeds.times == 4


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}"])
def test_a_damaged_choice_is_measured_again(damage, tmp_path, recorder, speeds):
    chosen(tmp_path, recorder)
    (path,) = (tmp_path / "engines").glob("*.json")
    path.write_bytes(damage)
    assert chosen(tmp_path, recorder) == "openvino"
    assert speeds.times == 2
    assert json.loads(path.read_bytes())["chosen"] == "openvino"


WORKER = """
import os, sys, time
from pathlib import Path
from test_engine_choice import *
from cxrbench.output.display import SilentDisplay

def faster(model, example):
    with Path(sys.argv[1], "log").open("a") as file:
        file.write("measured\\n")
    time.sleep(1)
    return ("openvino" if os.getpid() % 2 else "keras"), ""

engines._faster = faster
print(chosen(Path(sys.argv[1]), SilentDisplay()))
"""


@needs_openvino
@pytest.mark.slow
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
@pytest.mark.slow
def test_measuring_really_measures_each(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(engines, "_SECONDS", 0.1)
    taken = chosen(tmp_path, recorder)
    (line,) = recorder.lines
    told = re.fullmatch(
        r"  engine ([\w-]+): keras ([\d.]+) images/s, openvino ([\d.]+) images/s", line
    )
    assert told
    assert told[1] == taken
    assert min(float(told[2]), float(told[3])) > 0
