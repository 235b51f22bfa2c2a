"""Give readers damaged files: each must read them or say why not, in bounded time and memory.

    python benchmarks/fuzz.py --minutes 5                  # every reader, one after the other
    python benchmarks/fuzz.py image dicom --seed 7

Each input is a file of ``tests/corpora/READER``, changed in one to eight places. A reader may
return, or raise an error that has a message for the user. Everything else is a failure: another
exception, more than 10 seconds, more than 1 GB of additional memory, the end of the process. A
failure is kept in ``--output``, and the script ends with exit code 1. To add a reader, add a
function of a path to `READERS` and its small valid files to ``tests/corpora``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cxrbench.errors import CxrbenchError

CORPORA = Path(__file__).parents[1] / "tests" / "corpora"
SECONDS = 10
MEMORY = 10**9
MAX_PIXELS = 1_000_000


@dataclass(frozen=True)
class Reader:
    """What reads a file. ``repair`` makes checksums right again, so that more code is reached."""

    read: Callable[[Path], object]
    repair: Callable[[bytes], bytes] | None = None


def read_image(path: Path) -> object:
    """An image file of any format, by its content."""
    from cxrbench.store.decoding import decode

    return decode(path.read_bytes(), max_pixels=MAX_PIXELS)


def read_dicom(path: Path) -> object:
    """A DICOM file: its header as a scan reads it, then its pixels."""
    from cxrbench.builtin._dicom.key import Key
    from cxrbench.builtin._dicom.pixels import read_pixels
    from cxrbench.builtin._dicom.radiograph import read_radiograph

    read_radiograph(str(path), Key(b"k" * 32, "a test"), accept_unknown=True)
    return read_pixels(str(path), max_pixels=MAX_PIXELS)


def read_npz(path: Path) -> object:
    """Arrays, as the cache and run directories keep them."""
    from cxrbench.output.files import DamagedArrays, read_arrays

    try:
        return read_arrays(path)
    except DamagedArrays as error:  # every caller makes a message of it
        return error


def read_journal(path: Path) -> object:
    """The journal of a store in the cache."""
    from cxrbench.store.journal import last_sizes
    from cxrbench.store.journal import read_journal as read

    text = path.read_bytes()
    journal = read(text, ("descriptors.bin", "keypoints.bin"))
    return journal, last_sizes(text)


def read_table(path: Path) -> object:
    """A table of images, as `data check` reads it: its images need not be there."""
    from cxrbench.builtin.csv import CSV
    from cxrbench.output.display import SilentDisplay

    return CSV(path=str(path), images="none").examine(SilentDisplay(), path.parent)


def read_predictions(path: Path) -> object:
    """A table of predictions that another program made."""
    from cxrbench.data.prediction_table import read_predictions_table

    return read_predictions_table(path, ("Mass", "Nodule"))


def read_recipe(path: Path) -> object:
    """The text of a recipe."""
    from cxrbench.recipe import parse_recipe

    return parse_recipe(path.read_text(encoding="utf-8", errors="replace"), registry())


def read_settings(path: Path) -> object:
    """The options of a run in a TOML file."""
    from cxrbench.runs.settings_file import read_config

    return read_config(path)


def read_run(path: Path) -> object:
    """The file ``run.json`` of a run directory."""
    from cxrbench.runs.run import RUN_FILE, read_predicted

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        (Path(folder) / RUN_FILE).write_bytes(path.read_bytes())
        return read_predicted(Path(folder))


def read_parquet(path: Path) -> object:
    """The predictions of a run, with the right digest in its ``run.json``."""
    from cxrbench.runs.predictions import PREDICTIONS_FILE
    from cxrbench.runs.predictions import read_predictions as read
    from cxrbench.runs.run import RUN_FILE, read_predicted

    content = path.read_bytes()
    values = json.loads(corpus("run")[0])
    values["files"] = {PREDICTIONS_FILE: hashlib.sha256(content).hexdigest()}
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        (Path(folder) / RUN_FILE).write_text(json.dumps(values), encoding="utf-8")
        (Path(folder) / PREDICTIONS_FILE).write_bytes(content)
        run = read_predicted(Path(folder))
        return read(run, "test"), read(run, "val")


@cache
def registry() -> Any:
    """The installed parts."""
    from cxrbench.registry import load_registry

    return load_registry()


def repair_png(data: bytes) -> bytes:
    """Right checksums for the chunks of a PNG; other files as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    parts, place = [data[:8]], 8
    while place + 12 <= len(data):
        end = place + 8 + int(struct.unpack_from(">I", data, place)[0])
        if end + 4 > len(data):
            break
        parts += [data[place:end], struct.pack(">I", zlib.crc32(data[place + 4 : end]))]
        place = end + 4
    return b"".join((*parts, data[place:]))


def repair_journal(data: bytes) -> bytes:
    """Right checksums for the lines of a journal that are still JSON."""
    return b"".join(map(_repaired_line, data.splitlines(keepends=True)))


def _repaired_line(line: bytes) -> bytes:
    try:
        values: Any = json.loads(line)
        crc32 = zlib.crc32(values["chunk"].encode())
        return json.dumps({**values, "crc32": crc32}).encode() + b"\n"
    except (ValueError, KeyError, TypeError, AttributeError):
        return line


READERS = {
    "image": Reader(read_image, repair_png),
    "dicom": Reader(read_dicom),
    "npz": Reader(read_npz),
    "journal": Reader(read_journal, repair_journal),
    "table": Reader(read_table),
    "predictions": Reader(read_predictions),
    "recipe": Reader(read_recipe),
    "settings": Reader(read_settings),
    "run": Reader(read_run),
    "parquet": Reader(read_parquet),
}


def corpus(name: str) -> list[bytes]:
    """The valid files of a reader."""
    return [path.read_bytes() for path in sorted((CORPORA / name).iterdir())]


def damaged(name: str, seed: int) -> Iterator[bytes]:
    """Endless damaged files for a reader, the same for the same seed."""
    chance, files, repair = random.Random(seed), corpus(name), READERS[name].repair
    while True:
        data = bytearray(chance.choice(files))
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            data = _change(data, chance, files)
        yield repair(bytes(data)) if repair and chance.random() < 0.7 else bytes(data)


def _change(data: bytearray, chance: random.Random, files: list[bytes]) -> bytearray:
    """One change: bits, bytes, numbers of 1 to 4 bytes, cuts, repeats, parts of other files."""
    place = chance.randrange(len(data) + 1)
    if chance.random() < 0.5:  # headers decide more than pixels do
        place = min(place, chance.randrange(200))
    size = chance.choice((1, 2, 4, 16, 256))
    kind = chance.randrange(7)
    if kind == 0 and place < len(data):
        data[place] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[place : place + size] = chance.randbytes(min(size, 16))
    elif kind == 2:
        number = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
        width = chance.choice((1, 2, 4))
        order = chance.choice(("little", "big"))
        data[place : place + width] = (number % 256**width).to_bytes(width, order)
    elif kind == 3:
        del data[place : place + size]
    elif kind == 4:
        del data[place:]
    elif kind == 5:
        data[place:place] = data[place : place + size] * chance.choice((1, 2, 50))
    else:
        other = chance.choice(files)
        start = chance.randrange(len(other))
        data[place : place + size] = other[start : start + size]
    return data


def failure(name: str, path: Path) -> str | None:
    """Why the reader failed on this file, with the traceback; None if it did what it should."""
    try:
        with _limited():
            READERS[name].read(path)
    except CxrbenchError as error:
        return None if str(error).strip() else "an error without a message"
    except BaseException:
        return traceback.format_exc()
    return None


@contextmanager
def _limited() -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(name: str, minutes: float, seed: int, output: Path) -> None:
    """Read damaged files for so long, print the figures; exit code 1 if one failed."""
    warnings.simplefilter("ignore")
    with (output / f"{name}.log").open("wb") as log:  # libraries write to standard error directly
        os.dup2(log.fileno(), sys.stderr.fileno())
    for data in corpus(name):  # imports are no part of the limits
        path = output / f"{name}-now"
        path.write_bytes(data)
        if (why := failure(name, path)) is not None:
            print(f"{name}: a valid file of the corpus fails:\n{why}")
            sys.exit(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    count, failures, slowest, start = 0, 0, 0.0, time.monotonic()
    for data in damaged(name, seed):
        begun = time.monotonic()
        if begun - start > minutes * 60:
            break
        path.write_bytes(data)  # stays here if the process dies
        why = failure(name, path)
        slowest = max(slowest, time.monotonic() - begun)
        count += 1
        if why is not None:
            failures += 1
            kept = output / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            kept.write_bytes(data)
            kept.with_suffix(".txt").write_text(why)
    path.unlink()
    seconds = time.monotonic() - start
    print(
        f"{name}: {count:,} files in {seconds:.0f} s, {failures} failures, slowest {slowest:.2f} s"
    )
    sys.exit(1 if failures else 0)


def main() -> None:
    """Fuzz the named readers, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--minutes", type=float, default=1, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None, help="folder of the failures")
    given = parser.parse_args()
    if unknown := set(given.readers) - set(READERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; readers are {', '.join(READERS)}")
    output = given.output or Path(tempfile.mkdtemp(prefix="fuzz-"))
    output.mkdir(parents=True, exist_ok=True)
    bad = []
    for name in given.readers or READERS:
        process = multiprocessing.get_context("spawn").Process(
            target=fuzz, args=(name, given.minutes, given.seed, output)
        )
        process.start()
        process.join()
        if process.exitcode:
            bad.append(f"{name} (exit code {process.exitcode})")
    if bad:
        sys.exit(f"failed: {', '.join(bad)}; the files are in {output}")


if __name__ == "__main__":
    main()
