"""What `prepare` costs beside bare decoding, and beside the loader that people use today.

    python benchmarks/prepare_beside_decode.py NIH_FOLDER [--images 64] [--rounds 5] [--loader]

NIH_FOLDER has NIH's layout with original PNGs. For pixels at 224: each decoder alone on bytes in
memory, the resize alone, and `prepare` into an empty cache (read, check, hash, decode, resize,
write, flush), on one thread. For pixels with ORB and SIFT: a bare loop of decode, both resizes and
`detectAndCompute`, and `prepare`. Every way meets every round in turn; what counts is the processor
time of all threads, its median over rounds, and the ratio within a round.

``--loader`` adds torchxrayvision's ``NIH_Dataset`` with its centre crop and both of its resizers,
and needs ``pip install torchxrayvision torchvision`` beside PyTorch. Decoders that are not
installed (``pip install imagecodecs pyspng``) are left out, and said.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from plain_files import PlainFiles
from prepare_overhead import by_opencv

from cxrbench.builtin.orb import ORB
from cxrbench.builtin.sift import SIFT
from cxrbench.output.display import SilentDisplay
from cxrbench.store.image_pass import Preparation
from cxrbench.store.prepare import prepare

Way = Callable[[], object]

PIXELS = Preparation(image_sizes=(224,))
DETECTORS = Preparation(image_sizes=(224,), extractors=(ORB(), SIFT()))


def decoders() -> dict[str, Callable[[bytes], object]]:
    """Bare decoding of a PNG in memory, by each decoder that is installed."""
    from PIL import Image

    found: dict[str, Callable[[bytes], object]] = {
        "opencv": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED),
        "pillow": lambda data: np.asarray(Image.open(io.BytesIO(data))),
    }
    for name, function in (("imagecodecs", "png_decode"), ("pyspng", "load")):
        if find_spec(name) is None:
            print(f"{name} is not installed: left out")
        else:
            found[name] = getattr(import_module(name), function)
    return found


def by_prepare(paths: list[Path], wanted: Preparation) -> None:
    """`prepare` on one thread into an empty cache."""
    cache, films = Path(tempfile.mkdtemp()), PlainFiles(tuple(paths))
    try:
        prepare(
            films,
            films.load(),
            wanted,
            max_bad=0.0,
            cache=cache,
            threads=1,
            display=SilentDisplay(),
        )
    finally:
        shutil.rmtree(cache)


def loaders(folder: Path, paths: list[Path], work: Path) -> dict[str, Way]:
    """torchxrayvision's dataset of the same files, with the given resizer."""
    import torch

    torch.set_num_threads(1)
    if "+cpu" in torch.__version__:
        # torchvision's wheel expects the operators of a CUDA build when it is imported.
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    compose = import_module("torchvision.transforms").Compose
    xrv: Any = import_module("torchxrayvision")
    table = work / "table.csv"
    names = {path.name for path in paths}
    with (folder / "Ground_Truth.csv").open(newline="") as source, table.open("w") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        writer.writerows(row for row in rows if row["Image Index"] in names)

    def dataset(engine: str) -> Any:
        steps = [xrv.datasets.XRayCenterCrop(), xrv.datasets.XRayResizer(224, engine=engine)]
        found = xrv.datasets.NIH_Dataset(
            imgpath=str(paths[0].parent),
            csvpath=str(table),
            views=["PA", "AP"],
            unique_patients=False,
            transform=compose(steps),
        )
        assert len(found) == len(paths), (len(found), len(paths))
        return found

    def reader(engine: str) -> Way:
        found = dataset(engine)
        return lambda: [found[index] for index in range(len(paths))]

    return {f"torchxrayvision, {engine}": reader(engine) for engine in ("skimage", "cv2")}


def main() -> None:
    """Print medians of each way and the ratios that matter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loader", action="store_true")
    given = parser.parse_args()
    paths = sorted((given.folder / "xray_images").glob("*.png"))[: given.images]
    files = [path.read_bytes() for path in paths]
    films = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    cv2.setNumThreads(1)
    bare = decoders()
    ways = {f"decode by {name}": over(files, decode) for name, decode in bare.items()}
    ways["resize to 224"] = lambda: [
        cv2.resize(film, (224, 224), interpolation=cv2.INTER_AREA) for film in films
    ]
    ways["prepare: pixels"] = lambda: by_prepare(paths, PIXELS)
    ways["bare loop: pixels, ORB, SIFT"] = lambda: by_opencv(paths)
    ways["prepare: pixels, ORB, SIFT"] = lambda: by_prepare(paths, DETECTORS)
    with tempfile.TemporaryDirectory() as work:
        if given.loader:
            ways |= loaders(given.folder, paths, Path(work))
        times = measured(ways, given.rounds)
    per_image = {name: [1000 * t / len(paths) for t in found] for name, found in times.items()}
    for name, found in per_image.items():
        print(f"{name:32} {told(found, '.2f')} ms an image")
    fastest = min(bare, key=lambda name: statistics.median(per_image[f"decode by {name}"]))
    pairs = [(f"decode by {fastest}", "prepare: pixels")]
    pairs += [("decode by opencv", "prepare: pixels")]
    pairs += [("bare loop: pixels, ORB, SIFT", "prepare: pixels, ORB, SIFT")]
    pairs += [("prepare: pixels", name) for name in ways if name.startswith("torchxrayvision")]
    for base, name in dict.fromkeys(pairs):
        ratios = [b / a for a, b in zip(times[base], times[name], strict=True)]
        print(f"{name} / {base}: {told(ratios, '.3f')}")


def over(files: list[bytes], decode: Callable[[bytes], object]) -> Way:
    """Decode all of them."""
    return lambda: [decode(data) for data in files]


def measured(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each way in each round, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    # In a thread, as `prepare` works: on the main one glibc gives memory back after every image.
    with ThreadPoolExecutor(1) as pool:
        for number in range(rounds + 1):
            for name, way in ways.items():
                began = time.process_time()
                pool.submit(way).result()
                if number:
                    times[name].append(time.process_time() - began)
    return times


def told(values: list[float], form: str) -> str:
    """Median and range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
