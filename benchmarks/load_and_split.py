"""Time loading and splitting NIH's whole table, with an empty file in place of each image.

    python benchmarks/load_and_split.py FOLDER [LISTS]

FOLDER holds ``Data_Entry_2017_v2020.csv`` or ``Data_Entry_2017_v2020.csv.gz``. Pixels are not
read, so empty files give the same times as the images. LISTS is a folder of published lists, which
are read and checked in place of a split by patient.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from cxrbench.builtin._nih.table import find_table, read_labels
from cxrbench.builtin.nih import NIH
from cxrbench.data.cohort import validate
from cxrbench.data.splits import make_split


def imitate(folder: Path, target: Path) -> None:
    """Link the table into ``target`` and make one empty image file per row."""
    table = find_table(folder)
    if table is None:
        raise SystemExit(f"{folder} has no NIH label table")
    (target / table.name).symlink_to(table.absolute())
    images = target / "images"
    images.mkdir()
    for name in read_labels(table).file_names:
        (images / name).touch()


def measure(root: Path, spec: str) -> tuple[float, float, float, int, int]:
    """Seconds for loading, validating and splitting; images and patients."""
    start = time.perf_counter()
    cohort = NIH(path=str(root)).load()
    loaded = time.perf_counter()
    validate(cohort)
    valid = time.perf_counter()
    make_split(cohort, None, spec)
    done = time.perf_counter()
    patients = len(set(cohort.patient_ids))
    return loaded - start, valid - loaded, done - valid, len(cohort), patients


def main() -> None:
    """Print the three times and the total."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    spec = f"lists:{sys.argv[2]}" if len(sys.argv) == 3 else "patient"
    with tempfile.TemporaryDirectory() as root:
        imitate(Path(sys.argv[1]), Path(root))
        for _ in range(3):
            start = time.process_time()
            load, check, split, images, patients = measure(Path(root), spec)
            cpu = time.process_time() - start
            print(
                f"{images:,} images, {patients:,} patients: load {load:.2f} s, "
                f"validate {check:.2f} s, split {split:.2f} s, "
                f"total {load + check + split:.2f} s ({cpu:.2f} s CPU)"
            )


if __name__ == "__main__":
    main()
