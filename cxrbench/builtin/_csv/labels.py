"""Labels from a table's text: a column for each, or all of an image's joined in one cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench import Columns, DataError
from cxrbench.builtin._csv.choose import LABEL, keys_of

_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_BLANK = ("", "nan", "na")


@dataclass(frozen=True, eq=False)
class Labels:
    """``names`` (L,), ``values`` (N, L) float32 1, 0 or NaN, and notes."""

    names: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...]


def labels_of_columns(columns: Columns, *, uncertain: float, blank: float) -> Labels:
    """A column for each label: 1, 0, -1 (``uncertain``) or nothing (``blank``); also yes and no.

    Raises
    ------
    DataError : a cell holds something else.
    """
    keys = keys_of(columns.cells, LABEL)
    values = np.empty((len(columns), len(keys)), np.float32)
    for place, key in enumerate(keys):
        column = columns.cells[key]
        known = {text: _value(text, uncertain, blank) for text in set(column)}
        odd = next((text for text in column if known[text] is None), None)
        if odd is not None:
            raise _no_label(columns, key, odd)
        values[:, place] = [known[text] for text in column]
    return Labels(tuple(columns.titles[key] for key in keys), values, ())


def labels_of_cells(
    columns: Columns, names: Sequence[str], *, separator: str, blank: float
) -> Labels:
    """All labels of an image in one cell; those that it does not name are absent.

    ``names`` are the labels and their order; without any, they are all that there are, sorted.
    Names that are none of them are noted.

    Raises
    ------
    DataError : no row names a label, or one of ``names``.
    """
    column = columns.cells["findings"]
    counts = Counter(column)
    found = {text: _names(text, separator) for text in counts}
    there = {name for several in found.values() for name in several}
    chosen = tuple(names) or tuple(sorted(there))
    if not chosen or not there.issuperset(chosen):
        raise _no_names(columns, sorted(set(chosen) - there), sorted(there))
    vectors = {text: _vector(several, chosen, blank) for text, several in found.items()}
    values = np.array([vectors[text] for text in column], np.float32)
    other = sorted(there - set(chosen))
    rows = sum(counts[text] for text in counts if not found[text].isdisjoint(other))
    told = f"{columns.titles['findings']}: {len(other)} names in {rows:,} rows are no labels"
    notes = (f"{told} ({', '.join(other[:5])}{', ...' * (len(other) > 5)})",) if other else ()
    return Labels(chosen, values, notes)


def _value(text: str, uncertain: float, blank: float) -> float | None:
    if text.lower() in _BLANK:
        return blank
    try:
        value = _WORDS[text.lower()] if text.lower() in _WORDS else float(text)
    except ValueError:
        return None
    return uncertain if value == -1 else value if value in (0, 1) else None


def _names(text: str, separator: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(separator) if name.strip())


def _vector(found: frozenset[str], chosen: Sequence[str], blank: float) -> list[float]:
    return [float(name in found) if found else blank for name in chosen]


def _no_label(columns: Columns, key: str, text: str) -> DataError:
    line = columns.lines[columns.cells[key].index(text)]
    return DataError(
        f"Line {line} of {columns.path} has no label in the column {columns.titles[key]!r}.",
        expected="1 (present), 0 (absent), -1 (uncertain) or nothing (unknown)",
        found=repr(text[:100]),
        fix="correct that cell; if the column is no label, name those that are: "
        "--data csv:path=…,labels=A+B",
    )


def _no_names(columns: Columns, missing: Sequence[str], there: Sequence[str]) -> DataError:
    title = columns.titles["findings"]
    return DataError(
        f"{columns.path} names no label{' ' + repr(missing[0]) if missing else ''}.",
        expected=f"a column of this name, or the name in the column {title!r}"
        if missing
        else f"names in the column {title!r}",
        found=", ".join(map(repr, there[:20])) or f"{len(columns):,} rows without any",
        fix="correct labels=… (joined by +), or name another column: "
        "--data csv:path=…,findings=COLUMN",
    )
