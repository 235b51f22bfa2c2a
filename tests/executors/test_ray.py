"""Grids on a Ray cluster of two nodes: the results of the local executor, also when a node dies."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from conftest import spawn
from ray_cluster import needs_ray, two_nodes

pytestmark = needs_ray

GRID = ("tinynet+grid", "orb", "--data", "drawn", "--augment", "medical", "--epochs", 3)
# What is the same whenever and wherever it was made.
COMPARED = ("predictions.parquet", "metrics.json", "bootstrap.npz", "excluded.csv")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def nodes(site):
    with two_nodes(site) as (cluster, second):
        yield cluster, second


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


def test_a_cluster_gives_what_this_machine_gives(nodes, site, local, tmp_path):
    cluster, second = nodes
    out = finished(tmp_path, site, *GRID, *on(cluster), "--json")
    assert json.loads(out)["boards"][0]["rows"]
    assert_same_results(local, tmp_path)
    told = runs_of(tmp_path)
    assert {info["executor"] for info in told.values()} == {"ray"}
    for info in told.values():
        assert any(f"(node {n.node_id[:8]})" in info["node"] for n in (cluster.head_node, second))
    assert {info["executor"] for info in runs_of(local).values()} == {"local"}
    keys = [{n: info["row_key"] for n, info in runs_of(f).items()} for f in (local, tmp_path)]
    assert keys[0] == keys[1]


def test_nothing_is_left_of_the_checks(nodes, site, tmp_path):
    cluster, _ = nodes
    finished(tmp_path, site, "prior", "--data", "drawn", *on(cluster))
    left = {path.name for folder in ("runs", "cache") for path in (tmp_path / folder).iterdir()}
    assert not [name for name in left if name.startswith(".shared")]
