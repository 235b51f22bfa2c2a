"""Time the scan of an archive of DICOM files, first and again, beside bare pydicom.

    python benchmarks/dicom_headers.py FILE [--files 4000]

FILE is a frontal chest radiograph in DICOM; copies of it get UIDs and patients of their own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.scan import Memory, scan


def imitate(source: Path, target: Path, files: int) -> None:
    """Write copies, a hundred to a folder."""
    import pydicom
    from pydicom.uid import generate_uid

    dataset = pydicom.dcmread(source)
    for number in range(files):
        folder = target / f"{number // 100}"
        folder.mkdir(exist_ok=True)
        dataset.SOPInstanceUID = generate_uid()
        dataset.PatientID = str(number // 3)
        dataset.save_as(folder / f"{number}.dcm")


def bare(root: Path) -> int:
    """What the least careful loop would do."""
    import pydicom

    paths = sorted(root.rglob("*.dcm"))
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True).get("PatientID")
    return len(paths)


def careful(root: Path, memory: Path) -> int:
    """The dataset's own scan."""
    key = Key(b"a key that only this benchmark has", "benchmark")
    kept = Memory(memory, str(root), key, accept_unknown=False)
    found = scan(str(root), key, kept, leave_out=(), accept_unknown=False, display=None)
    return len(found.radiographs)


def told(name: str, work: Callable[[], int]) -> None:
    """Print files per second of wall and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    files = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name}: {files:,} files, {files / wall:,.0f}/s, {files / cpu:,.0f} per CPU second")


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--files", type=int, default=4000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, memory = Path(folder) / "archive", Path(folder) / "memory.jsonl"
        root.mkdir()
        imitate(options.file, root, options.files)
        told("pydicom alone", lambda: bare(root))
        told("first scan", lambda: careful(root, memory))
        told("second scan", lambda: careful(root, memory))


if __name__ == "__main__":
    main()
