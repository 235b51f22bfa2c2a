"""What installed plugins add to the start of a command, in processor time, tries in turn."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from cxrbench.scaffold import render

_COMMANDS = (("--help",), ("plugins", "list"))


def main() -> None:
    """Print the median and range of each command without and with generated plugins."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty, crowded = Path(folder, "empty"), Path(folder, "crowded")
        empty.mkdir()
        for number in range(options.plugins):
            install(crowded, f"crowd{number}")
        for command in _COMMANDS:
            seconds: dict[Path, list[float]] = {empty: [], crowded: []}
            for _ in range(options.repeats):
                for site, found in seconds.items():
                    found.append(processor_seconds(command, site))
            added = [many - none for none, many in zip(*seconds.values(), strict=True)]
            print(
                f"cxrbench {' '.join(command)}: without {told(seconds[empty])}, "
                f"with {options.plugins} plugins {told(seconds[crowded])}, added {told(added)}; "
                f"added between the fastest {ms(min(seconds[crowded]) - min(seconds[empty]))} ms"
            )


def install(site: Path, name: str) -> None:
    """A new plugin of the template, as pip would install it."""
    module = f"cxrbench_{name}"
    info = site / f"cxrbench_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cxrbench-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cxrbench]\n{name} = {module}\n")
    (site / f"{module}.py").write_text(render("feature", name)[f"{module}.py"])


def processor_seconds(command: tuple[str, ...], site: Path) -> float:
    """User and system time of one command."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", "from cxrbench.cli import main; main()", *command],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def told(seconds: list[float]) -> str:
    """Median and range in milliseconds."""
    return f"{ms(statistics.median(seconds))} ms ({ms(min(seconds))} to {ms(max(seconds))})"


def ms(seconds: float) -> str:
    """Milliseconds, without decimals."""
    return f"{1000 * seconds:.0f}"


if __name__ == "__main__":
    main()
