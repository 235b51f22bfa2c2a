"""The checks by name, how much each matters, and what one of them found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """What a finding means: a wrong benchmark, something to look at, something to know."""

    error = "error"
    warning = "warning"
    info = "info"


@dataclass(frozen=True)
class DataCheck:
    """One check: ``title`` says what was found where it found something, ``fix`` what to do."""

    name: str
    severity: Severity
    title: str
    fix: str


@dataclass(frozen=True)
class Item:
    """One place of a finding: the images that it is about, none where it is about no single one."""

    image_ids: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class Finding:
    """What one check found. ``items`` is complete; ``summary`` is one line."""

    check: str
    severity: Severity
    summary: str
    items: tuple[Item, ...]

    @property
    def fix(self) -> str:
        return CHECKS[self.check].fix


_ERRORS = (
    ("cannot-load", "the dataset cannot be loaded", "do what the message says"),
    ("no-images", "no image can be found", "see the message; --no-images checks the table alone"),
    ("unknown-label", "labels outside the vocabulary", "correct these rows' labels"),
    (
        "no-finding-and-finding",
        "rows that say both 'no finding' and a finding",
        "decide what each shows, and correct the row",
    ),
    ("contradicting-rows", "images with rows that disagree", "delete the rows that are wrong"),
    (
        "unclear-patient",
        "rows without a patient, or patients under two ids",
        "restore the patient ids from the source: without them a split leaks",
    ),
    ("unusable-boxes", "the boxes cannot be read", "correct or remove the list of boxes"),
    (
        "official-parts-share-patients",
        "patients in two official parts",
        "correct the published lists or the patient ids; no score on this split is honest",
    ),
    ("unusable-split", "the split cannot be made", "do what the message says"),
    (
        "too-many-unreadable",
        "a run would stop: too many images cannot be read",
        "repair the files, or accept them with --max-bad",
    ),
    (
        "duplicates-across-parts",
        "the same file in two parts of the split",
        "keep one of each, or give all of them one patient id",
    ),
    (
        "near-duplicates-across-parts",
        "the same film in two parts of the split",
        "look at them; keep one of each, or give all of them one patient id",
    ),
)
_WARNINGS = (
    (
        "duplicates-across-patients",
        "the same file under several patients",
        "give all of them one patient id: another split would tear them apart",
    ),
    (
        "near-duplicates-across-patients",
        "the same film under several patients",
        "look at them, and give all of them one patient id",
    ),
    ("unreadable", "images that cannot be read", "repair these files; runs leave them out"),
    ("tiny", "images too small to show findings", "get the originals"),
    ("constant", "images that show nothing", "remove these rows; runs would train on them"),
    ("inverted", "films that look like negatives", "look at them, and invert those that are"),
    ("colour", "images in colour", "look at them: films are grey, a photograph or a mark is not"),
    ("impossible-age", "ages that cannot be", "correct them; runs take them as unknown"),
    ("unlabelled", "images without any label", "remove these rows or label them"),
    ("left-out", "rows and images that are left out", "complete the folder or the table"),
    (
        "unknown-patients",
        "nobody knows whose images are whose",
        "look for a table with patients; the published split is taken on trust",
    ),
    (
        "too-rare-in-test",
        "labels that are too rare in the test part, or too rarely absent",
        "they will not count in macro; more patients, or a larger test split",
    ),
    (
        "shortcut",
        "the files tell of the labels without a look at a film",
        "store all images alike; compare every score with this one",
    ),
)
_INFO = (
    ("repeated-film", "the same film more than once", "keep one of each"),
    ("no-official-split", "there is no usable official split", "use --split patient"),
    ("note", "what the dataset says of itself", "nothing, unless it surprises"),
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
    """The finding with these items, or nothing where there are none.

    Without a ``summary`` it is the check's title, and how many places where these are images.
    """
    found = tuple(items)
    if not found:
        return ()
    about = CHECKS[check]
    number = f": {len(found):,}" if any(item.image_ids for item in found) else ""
    return (Finding(check, about.severity, summary or about.title + number, found),)
