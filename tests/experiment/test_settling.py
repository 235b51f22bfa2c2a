"""What needs no pixel is refused before the first image is decoded."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

import pytest
import tiny_parts
from conftest import TINY, install

NOTHING_TO_COMPUTE = "--engine openvino has nothing to compute"
CASES = {
    "engine without use": (
        ("tinynet", "--engine", "openvino", "--augment", "none"),
        NOTHING_TO_COMPUTE,
    ),
    "engine beside augmentation": (("tinynet", "--engine", "openvino"), NOTHING_TO_COMPUTE),
    "saliency without boxes": (
        ("tinynet", "--saliency", "--data", "drawn:boxes=false"),
        "has a box",
    ),
    "too few patients": (("grid", "--data", "drawn:patients=2"), "patients"),
    "unknown part": (("tinynet+nonsense",), "nonsense"),
    "unknown option value": (("grid", "--epochs", "0"), "--epochs cannot be 0"),
    "weights that are no file": (("tinynet", "--weights", "nowhere.h5"), "no such file"),
    "weights of an absent backbone": (("grid", "--weights", "tinynet=none"), "no recipe uses"),
    "weights that cannot be had": (("tinynet", "--weights", "imagenet"), "neither cached nor"),
    "nothing to leave out": (("grid", "--ablation"), "no part to leave out"),
    "thresholds": (("grid", "--thresholds", "sensitivity=2"), "sensitivity=2"),
    "calibration": (("grid", "--calibration", "platt"), "platt"),
    "devices": (("grid", "--devices", "3", "--batch-size", "16"), "16"),
}


@pytest.fixture
def refused(cli, tmp_path):
    """Run a command that has to fail without reading an image; what it says."""

    def run(*arguments: object) -> str:
        data = () if "--data" in arguments else ("--data", "drawn")
        places = () if "--runs" in arguments else ("--runs", tmp_path / "runs")
        before = tiny_parts.calls["read"]
        said = cli("run", *arguments, *data, *places, "--cache", tmp_path / "cache")
        assert said.code == 2
        assert tiny_parts.calls["read"] == before
        return said.err

    return run


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_before_an_image_is_read(case, refused):
    arguments, words = CASES[case]
    assert words in refused(*arguments)


def test_a_weights_file_that_does_not_fit(refused, tmp_path):
    file = tmp_path / "other.weights.h5"
    file.write_bytes(b"no HDF5")
    assert "does not fit tinynet" in refused("tinynet", "--weights", file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_runs_folder_without_permission(refused, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert "cannot write the run" in refused("grid", "--runs", folder / "runs")


def test_a_runs_folder_that_is_a_file(refused, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot write the run" in refused("grid", "--runs", file / "runs")


def test_a_plugin_that_is_broken(refused, tmp_path, monkeypatch):
    site = tmp_path / "site"
    install(site, "cxrbench-broken", "broken_part")
    (site / "broken_part.py").write_text("raise ValueError('out of order')\n")
    monkeypatch.syspath_prepend(site)
    installed = (*entry_points(group="cxrbench"), TINY)
    monkeypatch.setattr("cxrbench.registry.entry_points", lambda group: installed)
    assert "out of order" in refused("broken_part+grid")
