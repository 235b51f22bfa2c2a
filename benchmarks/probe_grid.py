"""A grid of four probes beside its dearest recipe alone, with empty and with filled caches.

    python benchmarks/probe_grid.py FOLDER [--image-size 224] [--epochs 20]

Each line is a process of its own: `cxrbench run … --protocol probe --weights none`. Decoding,
descriptors, codebooks and embeddings are shared within a grid, so it should cost little more than
its dearest recipe, `resnet+orb+sift`. Warm: the caches are there and the run directories are not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRID = ("resnet", "orb", "resnet+orb", "resnet+orb+sift")
DEAREST = ("resnet+orb+sift",)
_MAIN = "from cxrbench.cli import main; main()"


def seconds(recipes: tuple[str, ...], cache: Path, options: list[str]) -> float:
    """The wall time of one command with run directories of its own."""
    with tempfile.TemporaryDirectory() as runs:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", _MAIN, "run", *recipes, *options, "--runs", runs],
            env={**os.environ, "CXRBENCH_CACHE": str(cache)},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - started


def main() -> None:
    """Print the four times and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--image-size", default="224")
    parser.add_argument("--epochs", default="20")
    given = parser.parse_args()
    options = ["--data", given.folder, "--protocol", "probe", "--weights", "none"]
    options += ["--image-size", given.image_size, "--epochs", given.epochs]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        times = {}
        for state in ("cold", "warm"):
            times[state] = (
                seconds(DEAREST, Path(one), options),
                seconds(GRID, Path(other), options),
            )
    print(f"{'':6}{'dearest alone':>15}{'grid of four':>14}{'ratio':>8}")
    for state, (dearest, grid) in times.items():
        print(f"{state:6}{dearest:13.1f} s{grid:12.1f} s{grid / dearest:8.2f}")


if __name__ == "__main__":
    main()
