"""Films of a folder that count how often they are read, and what is prepared of them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from cxrbench import Cohort, Dataset, FeatureExtractor, LocalFeatures
from cxrbench.output.display import SilentDisplay
from cxrbench.store.image_pass import Preparation
from cxrbench.store.prepare import Prepared, prepare


class ListDisplay(SilentDisplay):
    """Keeps what was said and counts the steps of the bar."""

    def __init__(self):
        self.said = []
        self.steps = 0
        self.total = 0

    def say(self, text):
        self.said.append(text)

    @contextmanager
    def task(self, description, total):
        self.total = total

        def advance(steps=1, detail=""):
            self.steps += steps

        yield advance


@dataclass(frozen=True)
class Folder(Dataset):
    """Files of a folder, counting what is read."""

    name: ClassVar[str] = "folder"
    counts: ClassVar[Counter[str]] = Counter()

    def load(self):
        raise NotImplementedError  # cohorts are made by `cohort_of`

    def read(self, source, *, max_pixels):
        self.counts[source] += 1
        return super().read(source, max_pixels=max_pixels)


@dataclass(frozen=True)
class Corners(FeatureExtractor):
    """Brightest pixels: as many as the image's mean says; sometimes none."""

    name: ClassVar[str] = "corners"
    encodings: ClassVar = {}
    counts: ClassVar[Counter[str]] = Counter()
    image_size: int = 32
    most: int = 9

    def extract(self, image, record):
        assert image.shape == (self.image_size, self.image_size)
        self.counts[record.image_id] += 1
        n = int(image.mean()) % (self.most + 1)
        places = np.argsort(image.ravel(), kind="stable")[::-1][:n]
        y, x = np.divmod(places, self.image_size)
        points = np.stack([x, y, np.ones(n), np.zeros(n)], axis=1).astype(np.float32)
        return LocalFeatures(image[y][:, :8].astype(np.uint8).reshape(n, 8), points)


@dataclass(frozen=True)
class Age(FeatureExtractor):
    """No pixels, no keypoints."""

    name: ClassVar[str] = "age"
    encodings: ClassVar = {}
    image_size: None = None

    def extract(self, image, record):
        assert image is None
        return LocalFeatures(np.array([[record.age, 1.0]], np.float32))


def picture(row: int, side: int = 40) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (side, side + row % 7), np.uint8)


def make_cohort(folder: Path, count: int) -> Cohort:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{row:04}.png" for row in range(count)]
    for row, name in enumerate(names):
        path = folder / name
        if not path.exists():
            Image.fromarray(picture(row)).save(path)
            os.utime(path, ns=(10**18, 10**18))
    return cohort_of([str(folder / name) for name in names])


def cohort_of(sources: list[str]) -> Cohort:
    ids = tuple(Path(source).name for source in sources)
    count = len(ids)
    return Cohort(
        name="pictures",
        label_names=("Mass",),
        image_ids=ids,
        patient_ids=ids,
        labels=np.zeros((count, 1), np.float32),
        ages=np.arange(count, dtype=np.float32),
        sexes=("",) * count,
        views=("",) * count,
        sources=tuple(sources),
    )


def prepared(cohort: Cohort, cache: Path, **options: object) -> Prepared:
    options = {"image_sizes": (32,), "extractors": (Corners(),), **options}
    outside = {
        name: options.pop(name, default)
        for name, default in {
            "dataset": Folder(),
            "max_bad": 0.0,
            "threads": 2,
            "display": SilentDisplay(),
        }.items()
    }
    return prepare(outside.pop("dataset"), cohort, Preparation(**options), cache=cache, **outside)


def bytes_of(cache: Path) -> dict[str, str]:
    return {
        str(path.relative_to(cache)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def keys_of(cache: Path) -> set[str]:
    return {str(path.parent.relative_to(cache)) for path in cache.rglob("complete.json")}


@dataclass(frozen=True)
class Interrupted(Folder):
    """Stops at the image in this row, as Ctrl-C or a full memory does."""

    at: int = -1

    def read(self, source, *, max_pixels):
        if Path(source).name == f"{self.at:04}.png":
            raise KeyboardInterrupt
        return super().read(source, max_pixels=max_pixels)


def compare_nothing(monkeypatch) -> None:
    """No random sample of images is read to see whether they are those of before."""
    monkeypatch.setattr("cxrbench.store.prepare.changed_image", lambda *_: None)


def forget_counts() -> None:
    Folder.counts.clear()
    Corners.counts.clear()
