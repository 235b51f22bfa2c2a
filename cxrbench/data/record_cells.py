"""Age, sex and view as tables and DICOM headers write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAX_AGE = 120.0

_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]*)?)\s*([YMWD]?)", re.IGNORECASE | re.ASCII)
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES: Mapping[str, str] = MappingProxyType({"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"})
_VIEWS: Mapping[str, str] = MappingProxyType({"PA": "PA", "AP": "AP"})


def age_of(text: str) -> float | None:
    """Years from a number or from DICOM's form (``058Y``, ``006M``); None where unknown."""
    years = _years(text)
    return None if years != years or years > MAX_AGE else years


def sex_of(text: str) -> str:
    """``F``, ``M``, or ``""`` where unknown."""
    return _SEXES.get(text.upper(), "")


def view_of(text: str) -> str:
    """``PA``, ``AP``, or ``""`` where unknown."""
    return _VIEWS.get(text.upper(), "")


def ages(column: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Years (N,) float32, NaN where unknown, and notes on what was taken as unknown."""
    import numpy as np

    counts = Counter(column)
    years = {text: _years(text) for text in counts}
    impossible = {text for text, age in years.items() if age > MAX_AGE}
    unread = {text for text, age in years.items() if text and age != age}
    notes = (
        *_note(impossible, counts, f"ages above {MAX_AGE:.0f} years"),
        *_note(unread, counts, "ages that cannot be read"),
    )
    known = {text: np.nan if text in impossible else age for text, age in years.items()}
    return np.array([known[text] for text in column], dtype=np.float32), notes


def sexes(column: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`sex_of` each cell, and notes on what was taken as unknown."""
    return _coded(column, sex_of, "sexes")


def views(column: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`view_of` each cell, and notes on what was taken as unknown."""
    return _coded(column, view_of, "views")


def _years(text: str) -> float:
    match = _AGE.fullmatch(text)
    return float(match[1]) / _UNITS_PER_YEAR[match[2].upper()] if match else float("nan")


def _coded(
    column: Sequence[str], code: Callable[[str], str], what: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    counts = Counter(column)
    codes = {text: code(text) for text in counts}
    odd = {text for text, found in codes.items() if text and not found}
    return tuple(codes[text] for text in column), _note(odd, counts, what)


def _note(texts: set[str], counts: Mapping[str, int], what: str) -> tuple[str, ...]:
    if not texts:
        return ()
    shown = ", ".join(repr(text[:40]) for text in sorted(texts)[:5])
    more = ", ..." if len(texts) > 5 else ""
    return (f"took {sum(counts[text] for text in texts):,} {what} as unknown ({shown}{more})",)
