"""Checks of a dataset: its table, its images and how it recognises a path."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.builtin.phantom import Phantom
from cxrbench.data.datasets import load_cohort
from cxrbench.data.splits import PARTS, split_by_patient, split_official
from cxrbench.errors import DataError, PluginError
from cxrbench.interfaces import Cohort, Dataset
from cxrbench.output.display import SilentDisplay
from cxrbench.settings import resolve_settings
from cxrbench.store.image_pass import Preparation, prepare_image
from cxrbench.store.sources import read_source
from cxrbench.testing.check import NotChecked, Subject
from cxrbench.testing.samples import compare_speed, difference

_IMAGES = 12
_THREADS = 4
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True, eq=False)
class DatasetSubject:
    """A dataset, and its cohort, loaded once for the checks that only look at it."""

    subject: Subject

    @cached_property
    def cohort(self) -> Cohort:
        """The validated cohort.

        Raises
        ------
        NotChecked : the dataset needs a path.
        """
        return _load(self.subject)

    @property
    def rows(self) -> list[int]:
        """Rows of images to look at, spread over the cohort."""
        return sorted({int(row) for row in np.linspace(0, len(self.cohort) - 1, _IMAGES)})


def shapes(source: DatasetSubject) -> str:
    """The table keeps the contract of `Cohort`, and the defaults are settings."""
    cohort, part = source.cohort, source.subject.part
    resolve_settings({}, part.defaults)  # raises for an unknown setting
    patients = len(set(cohort.patient_ids))
    return f"{len(cohort):,} images of {patients:,} patients, {len(cohort.label_names)} labels"


def determinism(source: DatasetSubject) -> str:
    """Loaded twice, the table and the images are the same."""
    first, again = source.cohort, _load(source.subject)
    for field in fields(Cohort):
        one, other = getattr(first, field.name), getattr(again, field.name)
        same = _same_array(one, other) if isinstance(one, np.ndarray) else one == other
        if not same:
            raise _other(source, f"other {field.name} when it is loaded a second time")
    for row in source.rows:
        name = first.sources[row]
        if source.subject.part.signature(name) != source.subject.part.signature(name):
            raise _other(source, "another signature for the same image")
    _require_same_images(source, _read_all(source), _read_all(source), "a second time")
    return ""


def images(source: DatasetSubject) -> str:
    """Images can be read and decoded."""
    preparation = Preparation(image_sizes=(32,), max_pixels=_MAX_PIXELS)
    reasons = [
        image.reason
        for row in source.rows
        if (image := prepare_image(source.subject.part, source.cohort, row, preparation)).reason
    ]
    if reasons:
        raise PluginError(
            f"{source.subject.text} names images that cannot be read",
            expected="sources that read() gives bytes of an image file or grey pixels for",
            found=f"{len(reasons)} of {len(source.rows)}: {reasons[0]}",
            fix="list images without a file in Cohort.excluded, not in its rows",
        )
    return f"{len(source.rows)} images"


def threads(source: DatasetSubject) -> str:
    """Several threads at once read the same images as one."""
    with ThreadPoolExecutor(_THREADS) as pool:
        together = list(pool.map(lambda row: _read(source, row), source.rows * 2))
    alone = _read_all(source)
    _require_same_images(source, alone + alone, together, f"in {_THREADS} threads at once")
    return f"{len(together)} images in {_THREADS} threads"


def splitting(source: DatasetSubject) -> str:
    """A split by patient is possible; a published one names existing splits."""
    part, cohort = source.subject.part, source.cohort
    published = _published(part, cohort)
    if not cohort.patients_known:
        return f"patients are unknown; {published}"
    counts = split_by_patient(cohort).parts
    return ", ".join(f"{name} {int((counts == name).sum())}" for name in PARTS) + f"; {published}"


def recognising(source: DatasetSubject) -> str:
    """A path without this dataset's layout is not recognised, and raises nothing."""
    kind = type(source.subject.part)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "notes.txt")
        file.write_text("no cohort\n")
        for path in (Path(folder), file, Path(folder, "nothing-here")):
            if kind.recognise(path) is not None:
                raise PluginError(
                    f"{source.subject.text} recognises any path as its own",
                    expected="None for a folder with a text file, for the file, and for no file",
                    found=f"a dataset at {path.name}",
                    fix="look for the files of the layout, and return None without them",
                )
    return ""


def quickness(source: DatasetSubject) -> str:
    """The time of reading, compared with the built-in phantom, which draws images."""
    rows = source.rows[:4]
    phantom = Phantom(patients=20)
    drawn = phantom.load().sources[: len(rows)]
    return compare_speed(
        source.subject.text,
        lambda: [_read(source, row) for row in rows],
        "phantom",
        lambda: [phantom.read(name, max_pixels=_MAX_PIXELS) for name in drawn],
        len(rows),
    )


CHECKS: Mapping[str, Callable[[DatasetSubject], str]] = {
    "shapes": shapes,
    "determinism": determinism,
    "images": images,
    "threads": threads,
    "splitting": splitting,
    "recognising": recognising,
    "speed": quickness,
}


def _load(subject: Subject) -> Cohort:
    dataset: Dataset = subject.part
    with tempfile.TemporaryDirectory() as cache:
        try:
            return load_cohort(dataset, SilentDisplay(), Path(cache))
        except DataError as error:
            missing = [o for o in dataset.path_options if getattr(dataset, o, None) == ""]
            if not missing:
                raise
            raise NotChecked(
                f"it needs data: cxrbench plugins check {dataset.name}:{missing[0]}=… "
                f"({error.problem})"
            ) from error


def _published(dataset: Dataset, cohort: Cohort) -> str:
    try:
        parts = dataset.official_parts(cohort, None)
    except DataError as error:  # which is allowed: the lists may be elsewhere
        return f"no published split here ({error.problem})"
    if parts is None:
        return "no published split"
    split_official(cohort, parts)  # raises if it does not fit
    return "a published split"


def _read(source: DatasetSubject, row: int) -> bytes | np.ndarray:
    cohort = source.cohort
    return read_source(source.subject.part, cohort.sources[row], cohort.image_ids[row], _MAX_PIXELS)


def _read_all(source: DatasetSubject) -> list[Any]:
    return [_read(source, row) for row in source.rows]


def _require_same_images(
    source: DatasetSubject, first: list[Any], again: list[Any], when: str
) -> None:
    for one, other in zip(first, again, strict=True):
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            if not np.array_equal(one, other):
                raise _other(source, f"another image {when}", difference(one, other))
        elif one != other:
            raise _other(source, f"another image {when}")


def _same_array(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def _other(source: DatasetSubject, problem: str, found: str = "another") -> PluginError:
    return PluginError(
        f"{source.subject.text} gives {problem}",
        expected="the same for the same options, regardless of earlier calls",
        found=found,
        fix="sort the files of a folder, draw with a fixed seed for each image, and share no open "
        "file or position between threads",
    )
