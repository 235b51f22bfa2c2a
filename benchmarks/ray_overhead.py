"""What the Ray executor costs beside the local one: python benchmarks/ray_overhead.py [REPEATS].

The same grid by both in turn, each in a process and folder of its own; the shortest of each counts,
since others on the machine can only lengthen them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRIDS = {"prior alone": ("prior",), "4 recipes": ("orb", "sift", "orb+sift", "orb:words=64")}
OPTIONS = ("--data", "phantom:patients=100", "--epochs", "5", "--json")
MAIN = "from cxrbench.cli import main; main()"


def seconds(recipes: tuple[str, ...], executor: str) -> float:
    """Wall time of one command on empty folders."""
    with tempfile.TemporaryDirectory() as folder:
        where = ("--runs", str(Path(folder) / "runs"), "--cache", str(Path(folder) / "cache"))
        command = [sys.executable, "-c", MAIN, "run", *recipes, *OPTIONS, *where]
        began = time.perf_counter()
        subprocess.run([*command, "--executor", executor], check=True, capture_output=True)
        return time.perf_counter() - began


def main() -> None:
    """Print the shortest time of each grid and executor."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for name, recipes in GRIDS.items():
        best = {"local": float("inf"), "ray": float("inf")}
        for _ in range(repeats):
            for executor in best:
                best[executor] = min(best[executor], seconds(recipes, executor))
        more = best["ray"] - best["local"]
        print(f"{name}: local {best['local']:.1f} s, ray {best['ray']:.1f} s, {more:+.1f} s")


if __name__ == "__main__":
    main()
