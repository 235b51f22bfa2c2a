"""The checks by name, their severity, and their findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """error: invalidates a benchmark; warning: look at it; info: worth knowing."""

    error = "error"
    warning = "warning"
    info = "info"


@dataclass(frozen=True)
class DataCheck:
    """One check: ``title`` names its finding, ``fix`` says what to do."""

    name: str
    severity: Severity
    title: str
    fix: str


@dataclass(frozen=True)
class Item:
    """One place of a finding: its images, none if it is not about single images."""

    image_ids: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class Finding:
    """The finding of one check. ``items`` is complete; ``summary`` is one line."""

    check: str
    severity: Severity
    summary: str
    items: tuple[Item, ...]

    @property
    def fix(self) -> str:
        return CHECKS[self.check].fix


_ERRORS = (
    ("cannot-load", "the dataset cannot be loaded", "follow the message"),
    ("no-images", "no image exists", "follow the message; --no-images checks only the table"),
    ("unknown-label", "labels outside the vocabulary", "correct the labels of these rows"),
    (
        "no-finding-and-finding",
        "rows with both 'no finding' and a finding",
        "look at the image and correct the row",
    ),
    ("contradicting-rows", "images with rows that disagree", "delete the wrong rows"),
    (
        "unclear-patient",
        "rows without a patient, or patients under two ids",
        "restore the patient ids from the source; without them, a split leaks",
    ),
    ("unusable-boxes", "the boxes cannot be read", "correct or remove the list of boxes"),
    (
        "official-parts-share-patients",
        "patients on both sides of a published split",
        "correct the published lists or the patient ids; no score on this split is honest",
    ),
    ("unusable-split", "the split is not possible", "follow the message"),
    (
        "too-many-unreadable",
        "a run would stop: too many unreadable images",
        "repair the files, or raise --max-bad",
    ),
    (
        "duplicates-across-parts",
        "identical files in two splits",
        "keep one of each, or give all of them the same patient id",
    ),
    (
        "near-duplicates-across-parts",
        "the same image in two splits",
        "look at them; keep one of each, or give all of them the same patient id",
    ),
)
_WARNINGS = (
    (
        "duplicates-across-patients",
        "identical files of several patients",
        "give all of them the same patient id; another split would separate them",
    ),
    (
        "near-duplicates-across-patients",
        "the same image of several patients",
        "look at them, and give all of them the same patient id",
    ),
    ("unreadable", "unreadable images", "repair these files; runs exclude them"),
    ("tiny", "files too small to show findings", "get the originals"),
    ("constant", "images that show nothing", "remove these rows; runs would train on them"),
    (
        "inverted",
        "images that look like negatives or upside down",
        "look at them; invert negatives, and rotate images that are upside down",
    ),
    ("colour", "images in colour", "look at them; radiographs are grey, photographs are not"),
    ("impossible-age", "impossible ages", "correct them; runs treat them as unknown"),
    ("unlabelled", "images without any label", "label them, or remove these rows"),
    (
        "similar-patients",
        "patients whose ids differ in spelling only",
        "write the same id for the same patient: one patient in two splits leaks",
    ),
    (
        "similar-labels",
        "labels whose names differ in spelling only, or look like several",
        "check separator=, or correct the names in the table",
    ),
    (
        "unknown-word",
        "views, sexes or modalities that are not understood",
        "correct these cells; runs treat them as unknown",
    ),
    (
        "dominant-patient",
        "patients with very many of the images",
        "nothing: runs keep them in training; results depend on few other patients",
    ),
    ("left-out", "excluded rows and images", "complete the folder or the table"),
    (
        "unknown-patients",
        "the patients are unknown",
        "find a table with patients; otherwise, trust the published split",
    ),
    (
        "too-rare-in-test",
        "labels with too few test patients that have them, or that do not",
        "they do not count in macro; use more patients, or a larger test split",
    ),
    (
        "shortcut",
        "file properties alone predict the labels",
        "store all images in the same way, and compare scores with this one",
    ),
)
_INFO = (
    ("repeated-film", "the same image more than once", "keep one of each"),
    ("no-official-split", "no usable official split", "use --split patient"),
    ("note", "notes of the dataset", "nothing, or correct the table"),
)


def _by_name() -> dict[str, DataCheck]:
    families = (Severity.error, _ERRORS), (Severity.warning, _WARNINGS), (Severity.info, _INFO)
    checks = (
        DataCheck(name, severity, *texts) for severity, rows in families for name, *texts in rows
    )
    return {check.name: check for check in checks}


CHECKS: Mapping[str, DataCheck] = MappingProxyType(_by_name())
"""Every check; docs/reference/data-check.md says why each matters."""


def finding(check: str, items: Iterable[Item], summary: str | None = None) -> tuple[Finding, ...]:
    """The finding with these items, or nothing without any.

    The default ``summary`` is the check's title, with the number of places if these are images.
    """
    places = tuple(items)
    if not places:
        return ()
    about = CHECKS[check]
    number = f": {len(places):,}" if any(item.image_ids for item in places) else ""
    return (Finding(check, about.severity, summary or about.title + number, places),)
