"""Check a cohort: all checks in order, with one pass over the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrbench.checks.counts import Counts, count
from cxrbench.checks.duplicates import check_duplicates
from cxrbench.checks.finding import Finding, Item, finding
from cxrbench.checks.images import ImageScan, check_images, check_share, look_at_films
from cxrbench.checks.report import Checkup
from cxrbench.checks.shortcuts import Shortcut, check_shortcuts, find_shortcuts
from cxrbench.checks.tables import (
    check_faults,
    check_official,
    check_split,
    check_table,
    merged,
    try_split,
)
from cxrbench.data.datasets import examine
from cxrbench.data.splits import Split
from cxrbench.errors import DataError
from cxrbench.interfaces import Dataset, Display
from cxrbench.settings import Settings


@dataclass(frozen=True)
class Scope:
    """Whether to read the ``images``, or a ``sample`` of them; ``threads`` read them."""

    images: bool = True
    sample: int | None = None
    threads: int = 1


def check_up(
    dataset: Dataset, settings: Settings, scope: Scope, display: Display, cache: Path
) -> Checkup:
    """Check the dataset's table, parts and images, with the settings' split and limits.

    Nothing is written, except what the dataset itself keeps below the folder ``cache``.

    Raises
    ------
    DataError : the dataset or its lists do not exist.
    SettingsError, PluginError : wrong use, or a broken plugin.
    """
    _require_lists(settings)
    try:
        examined = examine(dataset, display, cache)
    except DataError as error:
        if _is_nothing_there(dataset):
            raise
        refused = finding("cannot-load", [Item((), str(error))])
        return _checkup(dataset, settings, refused)
    cohort = examined.cohort
    split, unusable = try_split(cohort, dataset, settings)
    findings = [
        *check_faults([f for f in examined.faults if scope.images or f.check != "no-images"]),
        *check_table(cohort),
        *check_official(dataset, cohort, settings),
        *unusable,
        *(check_split(cohort, split) if split else ()),
    ]
    films: ImageScan | None = None
    shortcuts: tuple[Shortcut, ...] = ()
    if scope.images and examined.has_images:
        films = look_at_films(
            dataset,
            cohort,
            _rows(len(cohort), scope.sample),
            max_pixels=settings.max_pixels,
            threads=scope.threads,
            display=display,
        )
        shortcuts = find_shortcuts(cohort, films, display)
        findings += check_images(cohort, films)
        findings += check_duplicates(cohort, split, films)
        findings += check_shortcuts(shortcuts)
    findings += check_share(cohort, films, settings.max_bad)
    counts = count(cohort, split, films)
    return _checkup(dataset, settings, merged(findings), counts, shortcuts, films, split)


def _checkup(
    dataset: Dataset,
    settings: Settings,
    findings: tuple[Finding, ...],
    counts: Counts | None = None,
    shortcuts: tuple[Shortcut, ...] = (),
    films: ImageScan | None = None,
    split: Split | None = None,
) -> Checkup:
    return Checkup(
        dataset=dataset.name,
        path=str(getattr(dataset, "path", "")),
        findings=findings,
        counts=counts,
        shortcuts=shortcuts,
        looked_at=None if films is None else len(films),
        split=settings.split,
        split_seed=settings.split_seed,
        split_hash=None if split is None else split.hash,
    )


def _rows(count: int, sample: int | None) -> np.ndarray:
    """All rows, or a sample that is always the same, ascending."""
    if sample is None or sample >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, sample, replace=False))


def _is_nothing_there(dataset: Dataset) -> bool:
    """A dataset without a path, or whose path does not exist: wrong use, no fault of the data."""
    path = getattr(dataset, "path", "")
    return not path or not Path(path).expanduser().exists()


def _require_lists(settings: Settings) -> None:
    folder = settings.split.partition(":")[2]
    if folder and not Path(folder).expanduser().exists():
        raise DataError(
            f"--split {settings.split}: there is no such folder",
            expected="the folder of the published lists",
            found="no such folder",
            fix="check the path",
        )
