"""The parts of the Ray executor that need Ray, but no cluster."""

from __future__ import annotations

import os
import pickle
import socket
import time

import numpy as np
import pytest
from filelock import FileLock
from ray_cluster import needs_ray

from cxrbench.errors import DeviceError, ExecutorError
from cxrbench.store.stores import FeatureStore, map_array

pytestmark = needs_ray


def test_memory_maps_travel_by_path(tmp_path):
    from cxrbench.experiment.executors.ray_tasks import packed, unpacked

    pixels = np.arange(100_000, dtype=np.uint8).reshape(10, 100, 100)
    (tmp_path / "pixels.bin").write_bytes(pixels.tobytes())
    mapped = map_array(tmp_path / "pixels.bin", pixels.shape, pixels.dtype)
    value = {"whole": mapped, "part": mapped[2:4], "own": np.arange(3)}
    data = packed(value)
    assert len(data) < 25_000  # the part, and not the whole
    again = unpacked(data)
    np.testing.assert_array_equal(again["whole"], pixels)
    np.testing.assert_array_equal(again["part"], pixels[2:4])
    np.testing.assert_array_equal(again["own"], np.arange(3))
    assert isinstance(again["whole"].base, np.memmap)
    assert not again["whole"].flags.writeable


def test_a_feature_store_travels_after_it_was_read(tmp_path):
    from cxrbench.experiment.executors.ray_tasks import packed, unpacked

    descriptors = np.random.default_rng(0).random((5000, 16)).astype(np.float32)
    (tmp_path / "descriptors.bin").write_bytes(descriptors.tobytes())
    mapped = map_array(tmp_path / "descriptors.bin", (5000, 16), np.dtype(np.float32))
    store = FeatureStore(tmp_path, np.array([2000, 0, 3000]), mapped, None)
    assert len(store.descriptors(2)) == 3000
    data = packed(store)
    assert len(data) < 2000
    np.testing.assert_array_equal(unpacked(data).descriptors(2), descriptors[2000:])


def node(cpus, gpus=0, id="0" * 8):
    from cxrbench.experiment.executors.ray_nodes import Node

    return Node(id, "host", cpus, gpus)


@pytest.mark.parametrize(
    ("nodes", "device", "devices", "cpus", "gpus"),
    [
        ([(4, 0), (4, 0)], "auto", 1, 4, 0),  # a whole node
        ([(0, 0), (16, 0)], "auto", 1, 16, 0),  # a head that only coordinates
        ([(16, 4), (8, 0)], "auto", 1, 4, 1),  # one run a GPU, with its part of the CPUs
        ([(16, 4), (8, 0)], "cpu", 1, 16, 0),
        ([(16, 4), (32, 8)], "gpu", 2, 8, 2),
        ([(2, 8)], "gpu", 1, 1, 1),
    ],
)
def test_the_share_of_a_run(nodes, device, devices, cpus, gpus):
    from cxrbench.experiment.executors.ray_nodes import Share, share_of_a_run

    share = share_of_a_run([node(*told) for told in nodes], device, devices)
    assert share == Share(cpus, gpus)
    assert any(share.fits(node(*told)) for told in nodes)


def test_no_gpu_or_no_cpu_in_the_cluster_is_said_at_once():
    from cxrbench.experiment.executors.ray_nodes import share_of_a_run

    with pytest.raises(DeviceError, match=r"host \(node 00000000\): 4 CPUs, 1 GPUs"):
        share_of_a_run([node(4, 1)], "gpu", 2)
    with pytest.raises(DeviceError, match="--device gpu --devices 1"):
        share_of_a_run([node(4)], "gpu", 1)
    with pytest.raises(ExecutorError, match="CPUs to give out"):
        share_of_a_run([node(0)], "auto", 1)


def test_a_folder_that_a_node_does_not_share_is_told(tmp_path):
    from cxrbench.experiment.executors.ray_checks import look

    def told(mark):
        return look([], {"--runs": mark}).folders["--runs"]

    assert told(tmp_path / "none" / "mark") == "there is no such folder there"
    assert told(tmp_path / "mark") == "another folder is at this path there"
    mark = tmp_path / "mark"
    mark.touch()
    assert told(mark) == "a lock that is held here is free there"
    with FileLock(mark.with_suffix(".lock")):
        assert told(mark) is None


def test_other_versions_and_other_code_are_told_with_the_node():
    from cxrbench.experiment.executors.ray_checks import installed, require_same_code

    ours = installed(["cxrbench.builtin.orb", "nothing_of_this_name"])
    assert ours["python"].startswith("3.")
    assert "No module named" in ours["plugin nothing_of_this_name"]
    require_same_code(node(1), dict(ours), ours)
    theirs = {**ours, "keras": "3.0.0"}
    with pytest.raises(ExecutorError, match=r"host \(node 00000000\) would compute") as caught:
        require_same_code(node(1), theirs, ours)
    assert "got: keras 3.0.0" in str(caught.value)
    assert "numpy" not in str(caught.value)


@pytest.mark.parametrize("address", ["rubbish", "ray://head:10001", ":6379", "host:port"])
def test_an_address_that_is_none(address):
    from cxrbench.experiment.executors.ray_connect import find_cluster

    with pytest.raises(ExecutorError, match="--ray-address cannot be"):
        find_cluster(address)


def test_no_cluster_at_the_address_is_said_in_seconds():
    from cxrbench.experiment.executors.ray_connect import find_cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(ExecutorError, match=f"no Ray cluster at {address}"):
        find_cluster(address)
    assert time.monotonic() - started < 10


def test_something_else_than_ray_at_the_address_is_said(monkeypatch):
    from cxrbench.experiment.executors import ray_connect

    monkeypatch.setattr(ray_connect, "_SECONDS", 5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ExecutorError, match="nothing that answers as Ray within 5 s"):
            ray_connect.find_cluster(address)


def test_errors_keep_their_class_and_text_on_the_way():
    error = ExecutorError("a problem", expected="this", found="that", fix="so")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ExecutorError
    assert str(again) == str(error)


def test_what_shapes_a_computation_goes_along(monkeypatch):
    from cxrbench.experiment.executors.ray_executor import _environment

    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("HOME_OF_NOTHING", "x")
    monkeypatch.setenv("CXRBENCH_DICOM_KEY", "a secret of this machine")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    told = _environment(4)["env_vars"]
    assert (told["KERAS_BACKEND"], told["OMP_NUM_THREADS"]) == ("jax", "4")
    assert not {"HOME_OF_NOTHING", "CXRBENCH_DICOM_KEY"} & set(told)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert _environment(4)["env_vars"]["OMP_NUM_THREADS"] == "2"
    assert set(os.environ) >= set(_environment()["env_vars"])
