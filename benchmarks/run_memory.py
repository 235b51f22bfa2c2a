"""Peak memory of a whole run, preparing and training, as the cohort grows: it should stay flat.

    python benchmarks/run_memory.py FOLDER --images 640 6400 [--recipe resnet+orb] [OPTION ...]

FOLDER has NIH's layout. Its films are linked under other ids, with other patients, until there are
enough. Each size is a `cxrbench run` of its own, whose anonymous memory (``RssAnon``: what it has
allocated, without pages of mapped files) is sampled from outside. Further options go to the run.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INTERVAL = 0.05
RUN = "from cxrbench.cli import main; main()"
OPTIONS = ("--protocol", "probe", "--weights", "none", "--image-size", "64", "--epochs", "2")


def link_films(source: Path, target: Path, images: int) -> None:
    """A folder in NIH's layout with so many rows, whose images are links into ``source``."""
    with (source / "Ground_Truth.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    films = {path.stem: path for path in (source / "xray_images").iterdir()}
    (target / "xray_images").mkdir(parents=True)
    with (target / "Ground_Truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for index in range(images):
            row, copy = rows[index % len(rows)], index // len(rows)
            film = films[Path(row["Image Index"]).stem]
            patient = int(row["Patient ID"]) + 100_000 * copy
            name = f"{patient:08d}_{row['Follow-up #'].zfill(3)}{film.suffix}"
            (target / "xray_images" / name).symlink_to(film.resolve())
            writer.writerow({**row, "Image Index": name, "Patient ID": patient})


def peak_of(command: list[str]) -> int:
    """Most anonymous memory of a process while it runs, in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        told = Path(f"/proc/{process.pid}/status").read_text()
        if found := re.search(r"RssAnon:\s+(\d+) kB", told):
            peak = max(peak, int(found[1]) * 1024)
        time.sleep(INTERVAL)
    if process.returncode:
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    return peak


def main() -> None:
    """Print the peak for each number of images, and the ratio of the last to the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[640, 6400])
    parser.add_argument("--recipe", default="resnet+orb")
    given, more = parser.parse_known_args()
    peaks = []
    for images in given.images:
        with tempfile.TemporaryDirectory() as folder:
            data, work = Path(folder) / "data", Path(folder)
            link_films(given.folder, data, images)
            where = ["--data", str(data), "--runs", str(work / "r"), "--cache", str(work / "c")]
            options = more or list(OPTIONS)
            peaks.append(
                peak_of([sys.executable, "-c", RUN, "run", given.recipe, *where, *options])
            )
        print(f"{images:7} images: peak {peaks[-1] / 1e6:6.1f} MB", flush=True)
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
