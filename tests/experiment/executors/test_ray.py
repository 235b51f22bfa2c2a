"""Grids on a Ray cluster of two nodes: the results of the local executor, also when a node dies."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from conftest import TESTS, install, spawn
from filelock import FileLock
from ray_cluster import CPUS, needs_ray, two_nodes

pytestmark = needs_ray

GRID = ("tinynet+grid", "orb", "--data", "drawn", "--augment", "medical", "--epochs", 3)
# What is the same whenever and wherever it was made.
COMPARED = ("predictions.parquet", "metrics.json", "bootstrap.npz", "excluded.csv")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def cluster(site):
    with two_nodes(site) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(site, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    finished(folder, site, *GRID)
    return folder


def start(folder: Path, site: Path, *options: object):
    where = ("--runs", folder / "runs", "--cache", folder / "cache")
    return spawn("run", *options, *where, site=site)


def finished(folder: Path, site: Path, *options: object) -> str:
    process = start(folder, site, *options)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    return out


def failed(folder: Path, site: Path, *options: object) -> str:
    process = start(folder, site, *options)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 2, out + err
    assert "Traceback" not in err
    return err[err.index("cxrbench: ") :]


def on(cluster) -> tuple[object, ...]:
    return ("--executor", "ray", "--ray-address", cluster.address)


def runs_of(folder: Path) -> dict[str, dict]:
    paths = [path for path in (folder / "runs").iterdir() if path.is_dir()]
    return {path.name: json.loads((path / "run.json").read_text()) for path in sorted(paths)}


def assert_same_results(one: Path, other: Path) -> None:
    names = runs_of(one)
    assert names.keys() == runs_of(other).keys()
    for name in names:
        for file in COMPARED:
            left, right = (folder / "runs" / name / file for folder in (one, other))
            assert left.read_bytes() == right.read_bytes(), (name, file)
    stores = {path.relative_to(one) for path in (one / "cache").rglob("*.bin")}
    assert stores == {path.relative_to(other) for path in (other / "cache").rglob("*.bin")}
    for store in stores:
        assert (one / store).read_bytes() == (other / store).read_bytes(), store


@pytest.mark.slow
def test_a_cluster_gives_what_this_machine_gives(cluster, site, local, tmp_path):
    out = finished(tmp_path, site, *GRID, *on(cluster), "--json")
    assert json.loads(out)["boards"][0]["rows"]
    assert_same_results(local, tmp_path)
    told = runs_of(tmp_path)
    assert {info["executor"] for info in told.values()} == {"ray"}
    for info in told.values():
        assert any(f"(node {node[:8]})" in info["node"] for node in cluster.nodes)
    assert {info["executor"] for info in runs_of(local).values()} == {"local"}
    left = {path.name for folder in ("runs", "cache") for path in (tmp_path / folder).iterdir()}
    assert not [name for name in left if name.startswith(".shared")]
    keys = [{n: info["row_key"] for n, info in runs_of(f).items()} for f in (local, tmp_path)]
    assert keys[0] == keys[1]


SOUR = """
from dataclasses import dataclass
from typing import ClassVar
from cxrbench import FeatureExtractor, Identity, hookimpl

CXRBENCH_API = 1

@dataclass(frozen=True)
class Sour(FeatureExtractor):
    name = "sour"
    image_size = 32
    encodings: ClassVar = {"identity": Identity}

    def extract(self, image, record):
        raise ValueError("too sour")

@hookimpl
def cxrbench_feature_extractors():
    return [Sour]
"""


@pytest.mark.parametrize("recipe", ["tinynet", pytest.param("sour", marks=pytest.mark.slow)])
def test_an_error_on_a_node_is_told_as_it_is_here(cluster, site, tmp_path, recipe):
    if recipe == "sour":  # fails while images are prepared, the other in its training
        (site / "sour_parts.py").write_text(SOUR)
        install(site, "sour-parts", "sour_parts")
    wrong = (recipe, "--data", "drawn", "--learning-rate", "1e9", "--epochs", 9)
    here = failed(tmp_path / "here", site, *wrong)
    there = failed(tmp_path / "there", site, *wrong, *on(cluster))
    assert there.replace("there", "here") == here
    assert ("too sour" if recipe == "sour" else "training diverged") in here


def test_a_node_with_other_code_is_refused_by_name(cluster, site, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    code = (TESTS / "tiny_parts.py").read_text()
    (other / "tiny_parts.py").write_text(code.replace("scaled", "shrunk"))
    odd = cluster.add(num_cpus=1, env_vars={"PYTHONPATH": f"{other}:{TESTS}:{site}"})
    try:
        said = failed(tmp_path, site, "tinynet", "--data", "drawn", *on(cluster))
    finally:
        cluster.kill(odd)
    assert f"(node {odd[:8]}) would compute something else" in said
    assert "plugin tiny_parts" in said
    assert "keras" not in said


def test_a_cluster_that_does_not_let_us_in(cluster, site, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE")  # has to be found out
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another token, thirty-two characters or more")
    started = time.monotonic()
    said = failed(tmp_path, site, "prior", "--data", "drawn", *on(cluster))
    assert "rejects the connection" in said
    assert "RAY_AUTH_TOKEN" in said
    assert time.monotonic() - started < 60


def test_the_token_is_sent_without_being_told_to(cluster, site, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE")
    said = failed(tmp_path, site, "tinynet", "--data", "drawn", "--device", "gpu", *on(cluster))
    assert "no node of the Ray cluster has them" in said  # it was asked, and answered


def test_gpus_that_no_node_has_are_an_error_before_any_work(cluster, site, tmp_path):
    said = failed(tmp_path, site, "tinynet", "--data", "drawn", "--device", "gpu", *on(cluster))
    assert "no node of the Ray cluster has them" in said
    assert not (tmp_path / "cache").exists()


LONG = ("tinynet:normalise=true+grid", "--data", "drawn", "--augment", "medical", "--seeds", 2)
LONG = (*LONG, "--epochs", 120, "--patience", 120, "--batch-size", 8)


def training(nodes, folder: Path) -> tuple[str, Path] | None:
    """A run that has left a checkpoint, and the node that computes it, once there is one."""
    for told in (folder / "runs").glob("*/run.json"):
        info = json.loads(told.read_text())
        saved = told.parent / "checkpoint" / "checkpoint.json"
        for node in nodes:
            if node[:8] in info["node"] and saved.exists():
                return node, told.parent
    return None


def wait_for_training(nodes, folder: Path, process) -> tuple[str, Path]:
    until = time.monotonic() + 300
    while (found := training(nodes, folder)) is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.mark.slow
def test_a_run_whose_node_is_killed_goes_on_elsewhere_to_the_same_result(cluster, site, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished(whole, site, *LONG)
    process = start(killed, site, *LONG, *on(cluster))
    doomed, path = wait_for_training(cluster.workers, killed, process)
    cluster.kill(doomed)
    cluster.add(num_cpus=CPUS)  # for the tests after this one
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    assert f"(node {doomed[:8]}), the node died; it goes on elsewhere (attempt 2 of 4)" in out
    assert "continuing in epoch" in out
    assert "raylet" not in out + err
    assert_same_results(whole, killed)
    assert doomed[:8] not in runs_of(killed)[path.name]["node"]


@pytest.mark.slow
def test_ctrl_c_ends_the_work_on_the_nodes_and_the_same_command_goes_on(cluster, site, tmp_path):
    process = start(tmp_path, site, *LONG, *on(cluster))
    _, path = wait_for_training(cluster.workers, tmp_path, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "interrupted" in err
    with FileLock(path.parent / f".{path.name}.lock", timeout=30):  # no process is left with it
        assert runs_of(tmp_path)[path.name]["status"] == "incomplete"
    assert "continuing in epoch" in finished(tmp_path, site, *LONG, *on(cluster))
