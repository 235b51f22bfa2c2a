"""Peak memory of `prepare` as the cohort grows: it should stay flat.

    python benchmarks/prepare_memory.py FOLDER --images 640 6400

Each size runs in a process of its own, which samples its anonymous memory (``RssAnon``: what it has
allocated, without pages of mapped files, which the system takes back when it likes). Files are
repeated under other ids until there are enough.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import cv2
from plain_files import PlainFiles

from cxrbench.builtin.orb import ORB
from cxrbench.output.display import SilentDisplay
from cxrbench.store.image_pass import Preparation
from cxrbench.store.prepare import prepare

INTERVAL = 0.02


def anonymous_bytes() -> int:
    """What this process has allocated and touched."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def peak_of(folder: Path, images: int, threads: int) -> int:
    """Most anonymous memory during one `prepare` of so many images, in bytes."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".jpeg"))
    films = PlainFiles(tuple((files * (images // len(files) + 1))[:images]))
    cohort = films.load()
    wanted = Preparation(image_sizes=(224,), extractors=(ORB(),))
    samples, stop = [anonymous_bytes()], threading.Event()

    def watch() -> None:
        while not stop.wait(INTERVAL):
            samples.append(anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as cache:
        prepare(
            films,
            cohort,
            wanted,
            max_bad=0.0,
            cache=Path(cache),
            threads=threads,
            display=SilentDisplay(),
        )
    stop.set()
    watcher.join()
    return max(samples)


def main() -> None:
    """Print the peak for each number of images, and the ratio of the last to the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of PNGs or JPEGs")
    parser.add_argument("--images", type=int, nargs="+", default=[640, 6400])
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if len(given.images) == 1:
        cv2.setNumThreads(1)
        print(peak_of(given.folder, given.images[0], given.threads))
        return
    peaks = []
    for images in given.images:
        command = [sys.executable, __file__, str(given.folder), "--images", str(images)]
        command += ["--threads", str(given.threads)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True).stdout))
        print(f"{images:7} images: peak {peaks[-1] / 1e6:6.1f} MB")
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
