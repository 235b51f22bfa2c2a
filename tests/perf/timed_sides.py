"""Small films to time on, and environments that hold a changed copy of the package."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import cv2
import numpy as np

import cxrbench
from cxrbench.perf.process import Environment, Work


def small_work(folder: Path) -> Work:
    """Two films so small that every path is quick."""
    rng = np.random.default_rng(0)
    for number in range(2):
        film = cv2.GaussianBlur(rng.integers(0, 256, (300, 300)).astype(np.uint8), (0, 0), 3)
        (folder / f"film-{number}").write_bytes(cv2.imencode(".png", film)[1].tobytes())
    return Work(folder, image_size=64, network_size=32, batch_size=2)


def environment(folder: Path, changes: dict[str, str]) -> Environment:
    """A copy of this package with code put at the end of some modules."""
    packages = folder / "packages"
    source = Path(cxrbench.__file__).parent
    shutil.copytree(source, packages / "cxrbench", ignore=shutil.ignore_patterns("__pycache__"))
    for module, code in changes.items():
        with (packages / "cxrbench" / module).open("a") as file:
            file.write(textwrap.dedent(code))
    return Environment(packages=packages)
