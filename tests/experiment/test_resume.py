"""A run that is killed at any instant ends as one that never was: weights, history and scores."""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import shutil
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import install, spawn

from cxrbench.runs.directory import is_complete

RECIPE = "tinynet:normalise=true+grid"
PERMUTED = "tinynet:normalise=true,permuted=true+grid"
# Everything that has a state: dropout, batch normalisation, Adam, the schedule of the learning
# rate, early stopping, the order of the images, every kind of augmentation.
OPTIONS = (
    *("--data", "drawn", "--protocol", "finetune", "--weights", "none", "--augment", "medical"),
    *("--learning-rate", "3e-4", "--batch-size", "8"),
)


def run_in(folder: Path, *options: object, recipe: str = RECIPE):
    return spawn(
        *("run", recipe, *OPTIONS, *options),
        *("--runs", folder / "runs", "--cache", folder / "cache"),
        site=folder,
    )


def finished(folder: Path, *options: object, recipe: str = RECIPE) -> str:
    process = run_in(folder, *options, recipe=recipe)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out


def run_of(folder: Path) -> Path:
    (path,) = (p for p in (folder / "runs").iterdir() if p.is_dir() and "tinynet" in p.name)
    return path


def weights(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def history(path: Path) -> list[list[str]]:
    """Every epoch, without the two columns that tell the time."""
    with (path / "history.csv").open() as file:
        return [row[:-2] for row in csv.reader(file)]


def assert_same_result(one: Path, other: Path) -> None:
    assert history(one) == history(other)
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)
    pd.testing.assert_frame_equal(
        pd.read_parquet(one / "predictions.parquet"),
        pd.read_parquet(other / "predictions.parquet"),
        check_exact=True,
    )
    assert (one / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
    infos = [json.loads((path / "run.json").read_text()) for path in (one, other)]
    assert infos[0]["best_epoch"] == infos[1]["best_epoch"]


def on_backend(name: str, monkeypatch) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", name)


def place(folder: Path) -> Path:
    folder.mkdir()
    install(folder, "tiny-parts", "tiny_parts")
    return folder


def wait_for(path: Path, process, seconds: float = 120) -> None:
    """Until the training of a run has left a checkpoint at this path."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, f"no {path} after {seconds} s"
        time.sleep(0.01)


def kill(process) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [RECIPE, PERMUTED])
def test_a_killed_run_goes_on_and_ends_as_one_that_never_was(tmp_path, recipe):
    # Long enough that a checkpoint is written before the end, on a fast machine too.
    options = ("--epochs", 300, "--patience", 300)
    whole, killed = place(tmp_path / "whole"), place(tmp_path / "killed")
    finished(whole, *options, recipe=recipe)
    process = run_in(killed, *options, recipe=recipe)
    path = Path(next(line for line in process.stdout if "in /" in line).split(" in ")[1].strip())
    wait_for(path / "checkpoint" / "checkpoint.json", process)
    kill(process)
    assert not is_complete(path)
    out = finished(killed, *options, recipe=recipe)
    assert "Traceback" not in out
    assert "continuing in epoch" in out
    assert "preparing" not in out, "the images were prepared before the kill"
    assert_same_result(run_of(whole), run_of(killed))
    assert not (path / "checkpoint").exists()


KILLS = 20
# Epochs without a better score that end a run: long enough to be killed in. PyTorch's are slow.
PATIENCE = {"tensorflow": 250, "jax": 250, "torch": 100}


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", ["tensorflow", "jax", pytest.param("torch", marks=pytest.mark.torch)]
)
def test_twenty_kills_at_random_instants_change_nothing(tmp_path, backend, monkeypatch):
    on_backend(backend, monkeypatch)
    # Early stopping ends it, with a learning rate halved before.
    options = ("--epochs", 3000, "--patience", PATIENCE[backend])
    whole, killed = place(tmp_path / "whole"), place(tmp_path / "killed")
    finished(whole, *options)
    # The first is killed with its first checkpoint, which tells how long this machine takes to
    # compile and to begin; the others at any instant from before that to well after it.
    started = time.monotonic()
    process = run_in(killed, *options)
    path = Path(next(line for line in process.stdout if "in /" in line).split(" in ")[1].strip())
    wait_for(path / "checkpoint" / "checkpoint.json", process)
    to_begin = time.monotonic() - started
    kill(process)
    draw = random.Random(20)
    kills = 1
    while kills < KILLS:
        process = run_in(killed, *options)
        time.sleep(draw.uniform(0.3, 1.2) * to_begin)
        if process.poll() is None:
            kill(process)
            kills += 1
        else:  # this machine is fast enough to come to the end between kills: once more
            assert process.returncode == 0, process.communicate()[1]
            assert_same_result(run_of(whole), run_of(killed))
            shutil.rmtree(killed / "runs")
    finished(killed, *options)
    assert_same_result(run_of(whole), run_of(killed))
    assert len(history(run_of(whole))) - 1 < 3000
