"""Commands report nothing anywhere: no connection, and no file outside the folders they name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import environment, install

STRACE = shutil.which("strace")
MAIN = "from cxrbench.cli import main; main()"

# What libraries keep for themselves on this machine.
EXPECTED = re.compile(r"\.keras(/.*)?|\.(cache|config)(/(matplotlib|fontconfig)(/.*)?)?")


def can_trace() -> bool:
    if STRACE is None:
        return False
    done = subprocess.run([STRACE, "-f", "-o", os.devnull, "true"], capture_output=True)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(not can_trace(), reason="needs strace, and leave to trace")


def watched(folder: Path, arguments: Sequence[object], code: str = MAIN) -> list[str]:
    """Run a command in a home of its own; its connections and its files in that home."""
    home, log = folder / "home", folder / "connections"
    home.mkdir(exist_ok=True)
    variables = {**environment(folder), "HOME": str(home)}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "KERAS_HOME", "MPLCONFIGDIR"):
        variables.pop(name, None)
    done = subprocess.run(
        [
            *(str(STRACE), "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o", log),
            *(sys.executable, "-c", code, *map(str, arguments)),
        ],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    calls = [line for line in log.read_text().splitlines() if "AF_INET" in line]
    files = (str(path.relative_to(home)) for path in home.rglob("*"))
    return calls + [name for name in files if not EXPECTED.fullmatch(name)]


def test_a_connection_and_a_file_in_the_home_are_seen(tmp_path):
    code = (
        "import pathlib, socket; (pathlib.Path.home() / 'device-id').touch(); "
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    )
    seen = watched(tmp_path, (), code)
    assert any("192.0.2.1" in line for line in seen)
    assert "device-id" in seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("watched")
    install(folder, "tiny-parts", "tiny_parts")
    return folder


def run_of(folder: Path, recipe: str) -> Path:
    (path,) = (p for p in (folder / "runs").glob(f"drawn-{recipe}-probe*") if p.is_dir())
    return path


def png(pixels: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.slow
def test_no_command_reports_anything(folder):
    places = ("--runs", "runs", "--cache", "cache")
    run = ("run", "tinynet+grid", "--data", "drawn", *places, "--protocol", "probe")
    assert watched(folder, run) == []
    path = run_of(folder, "tinynet+grid")
    image = folder / "image.png"
    image.write_bytes(png(np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)))
    assert watched(folder, ("report", path, "--output", "report.html")) == []
    assert watched(folder, ("figures", path, "--output", "figures", "--cache", "cache")) == []
    assert watched(folder, ("predict", path, image, "--output", "out.csv")) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras", "onnx", "saved-model"])
def test_no_export_reports_anything(folder, kind):
    places = ("--runs", "runs", "--cache", "cache")
    run = ("run", "tinynet", "--data", "drawn", *places, "--protocol", "probe", "--epochs", 1)
    assert watched(folder, run) == []
    path = run_of(folder, "tinynet")
    assert watched(folder, ("export", path, "--format", kind, "--output", f"model-{kind}")) == []
