"""Findings as tables write them: several in one cell, or one in each of several rows."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from cxrbench.data.tables import Columns, shortened
from cxrbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

AUTO = "auto"
_NAMED: Mapping[str, str] = MappingProxyType({"comma": ",", "space": " "})
LIKELY = ("|", ";", "\n", ",")
"""Separators that are recognised, the first that is there."""

_LIST = re.compile(r"\[.*\]", re.DOTALL)
_BRACKETED = re.compile(r"\(.*\)|\{.*\}", re.DOTALL)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_BLANK = frozenset({"", "nan", "na", "n/a", "null"})
_UNKNOWN = frozenset({"unknown", "todo"})
"""Words of covid-chestxray-dataset for images that nobody has labelled."""


@dataclass(frozen=True)
class FindingCells:
    """The names in each cell, by the cell's text, and notes on how they were read.

    ``unlabelled`` are the texts of cells that say that the labels are unknown.
    """

    names: Mapping[str, frozenset[str]]
    unlabelled: frozenset[str]
    notes: tuple[str, ...]


def joiner_of(separator: str) -> str:
    """The separator that an option names; ``comma`` and ``space`` stand for these."""
    return _NAMED.get(separator, separator)


def label_key(name: str) -> str:
    """The same text for names that differ in capitals, spaces or Unicode form only."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def loose_key(name: str) -> str:
    """As `label_key`, with underscores as spaces."""
    return label_key(name.replace("_", " "))


def read_cells(
    cells: Mapping[str, int], separator: str, title: str, chosen: Collection[str] = ()
) -> FindingCells:
    """The names in cells; ``cells`` counts the rows of each text.

    A cell in brackets is a list, as Python, JSON and numpy write it. Other cells are divided at the
    ``separator``; ``auto`` recognises a vertical bar, a semicolon,
    a line break or a comma. Names that differ in
    capitals only are one label, in its most frequent spelling. ``chosen`` names are labels even
    if they are words for unknown.

    Raises
    ------
    DataError : a list cannot be read, or it is unclear what separates names.
    """
    lists = {text: _listed(text) for text in cells}
    plain = [text for text, names in lists.items() if names is None]
    joiner = _recognised(plain, title) if separator == AUTO else joiner_of(separator)
    written = {
        text: [text] if joiner is None and names is None else names or _divided(text, joiner or "|")
        for text, names in lists.items()
    }
    cleaned = {
        text: [
            name
            for name in (" ".join(unicodedata.normalize("NFC", n).split()) for n in names)
            if label_key(name) not in _BLANK
        ]
        for text, names in written.items()
    }
    spelling, joined = _spellings(cleaned, cells)
    unknown = _UNKNOWN.difference(map(label_key, chosen))
    unlabelled = frozenset(
        text for text, names in cleaned.items() if any(label_key(name) in unknown for name in names)
    )
    names_of = {
        text: frozenset(spelling[name] for name in names if label_key(name) not in unknown)
        for text, names in cleaned.items()
    }
    notes = []
    if separator == AUTO and joiner not in (None, "|"):
        notes.append(f"{title}: labels are separated by {joiner!r} (separator= changes that)")
    if joined:
        notes.append(f"{title}: joined labels that differ in capitals only: {'; '.join(joined)}")
    if unlabelled:
        rows = sum(cells[text] for text in unlabelled)
        notes.append(f"{title}: {rows:,} rows say that their labels are unknown")
    return FindingCells(names_of, unlabelled, tuple(notes))


def _listed(text: str) -> list[str] | None:
    """The names in the text of a list; None for other text."""
    text = text.strip()
    if not (_LIST.fullmatch(text) or _BRACKETED.fullmatch(text)):
        return None
    inner = text[1:-1]
    rest = re.sub(r"\b(nan|None|null)\b", "", _QUOTED.sub("", inner)).strip(" ,;\t\n")
    if not rest.replace(",", "").strip():
        pairs = _QUOTED.findall(inner)
        return [re.sub(r"\\(.)", r"\1", one or other) for one, other in pairs] or [""]
    if text[0] != "[":
        return None
    if _QUOTED.search(inner):
        raise DataError(
            "a cell of labels looks like a list, but cannot be read",
            expected="a list such as ['Mass', 'Edema'], or names joined by a separator",
            found=shortened(repr(text)),
            fix="correct that cell: each name is in quotes, and commas are between them",
        )
    return inner.split(",")


def _divided(text: str, joiner: str) -> list[str]:
    return text.split(joiner)


def _recognised(texts: Sequence[str], title: str) -> str | None:
    """What separates names in these texts; None where nothing does."""
    joiner = next((one for one in LIKELY if any(one in text for text in texts)), None)
    if joiner is None or joiner == "|":
        return joiner
    cells_of = Counter(
        key for text in texts for key in {label_key(n) for n in _divided(text, joiner)} - _BLANK
    )
    joined = {
        key for text in texts if joiner in text for key in map(label_key, _divided(text, joiner))
    } - _BLANK
    if 2 * sum(cells_of[key] > 1 for key in joined) >= len(joined):
        return joiner
    some = next(text for text in texts if joiner in text)
    written = "comma" if joiner == "," else joiner
    raise DataError(
        f"it is unclear if {joiner!r} separates labels in the column {title!r}",
        expected="names that occur in several cells, so that a separator can be recognised",
        found=shortened(repr(some)),
        fix=f"separator={written} if it separates labels; separator=| if it is a part of names",
    )


def _spellings(
    written: Mapping[str, Sequence[str]], cells: Mapping[str, int]
) -> tuple[dict[str, str], list[str]]:
    """The spelling that stands for each name, and the names that several spellings have."""
    counts: Counter[str] = Counter()
    for text, names in written.items():
        counts.update(dict.fromkeys(names, cells[text]))
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        alike[label_key(name)].append(name)
    joined = [" = ".join(names) for _, names in sorted(alike.items()) if len(names) > 1]
    return {name: names[0] for names in alike.values() for name in names}, joined


_NO_DISEASE = ("support devices",)

RULES: Mapping[str, str] = MappingProxyType(
    {
        "any": "any row names it",
        "majority": "more than half of the readers name it",
        "all": "all readers name it",
    }
)


def join_labels(
    values: np.ndarray,
    ids: Sequence[str],
    readers: Sequence[str] | None,
    rule: str,
    names: Sequence[str],
    no_finding: str | None,
) -> np.ndarray:
    """The labels of each image (images, L) float32, 1, 0 or NaN, from those of rows (N, L).

    A reader names a label if one of their rows for the image does; without ``readers``, each row
    is one reader's. Unknown labels are no vote. ``no_finding`` is absent where a disease is
    present, since readers may disagree. Images are in the order of their first rows.
    """
    import numpy as np

    images = _codes(ids)
    voters = _codes(list(zip(ids, readers or range(len(ids)), strict=True)))
    image_of = np.zeros(voters.max() + 1, np.intp)
    image_of[voters] = images
    size = (len(image_of), len(names))
    positive, known = np.zeros(size, np.int64), np.zeros(size, np.int64)
    np.maximum.at(positive, voters, (values == 1).astype(np.int64))
    np.maximum.at(known, voters, (~np.isnan(values)).astype(np.int64))
    yes, votes = (np.zeros((images.max() + 1, size[1]), np.int64) for _ in range(2))
    np.add.at(yes, image_of, positive)
    np.add.at(votes, image_of, known)
    present = {"any": yes > 0, "majority": 2 * yes > votes, "all": yes == votes}[rule]
    joined = np.where(votes == 0, np.nan, present).astype(np.float32)
    if no_finding is not None:  # readers disagree; the image cannot have both
        place = names.index(no_finding)
        diseases = [at for at, name in enumerate(names) if at != place and is_disease(name)]
        contradicts = (joined[:, diseases] == 1).any(axis=1) & (joined[:, place] == 1)
        joined[contradicts, place] = 0
    return joined


def _codes(keys: Sequence[object]) -> np.ndarray:
    import numpy as np

    codes: dict[object, int] = {}
    return np.array([codes.setdefault(key, len(codes)) for key in keys], np.intp)


def is_disease(name: str) -> bool:
    """Whether a label contradicts 'no finding'.

    Support devices do not: the labellers of CheXpert and MIMIC-CXR set No Finding beside them
    (Irvin et al., 2019).
    """
    return loose_key(name) not in _NO_DISEASE


def no_readers(columns: Columns, rule: str) -> DataError:
    """The error for findings of several rows that cannot be counted by reader."""
    return DataError(
        f"{columns.path} does not name the reader of each row",
        expected=f"a column of readers, such as rad_id, for rows={rule}",
        found=f"the columns {', '.join(columns.titles.values())}",
        fix="name it: reader=COLUMN; or use rows=any",
    )
