"""The view of each image, from one or more columns that tell of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from cxrbench import Columns
from cxrbench.builtin._csv.rows import VIEW

_FRONTAL = ("PA", "AP")
_POSITION_UNKNOWN = ("FRONTAL", "")
_OTHER = (
    *("LATERAL", "LAT", "LL", "RL", "LEFT LATERAL", "RIGHT LATERAL", "XTABLE LATERAL", "SWIMMERS"),
    *("LAO", "RAO", "LPO", "RPO", "OBLIQUE"),
)
"""Words of CheXpert, MIMIC-CXR and DICOM (View Position) for what is no frontal radiograph."""


@dataclass(frozen=True)
class Views:
    """``views`` (N,) hold PA, AP or ``""``; ``reasons`` (N,) why a row is left out, else ``""``."""

    views: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def views_of(columns: Columns) -> Views:
    """What all columns of views say together of each row."""
    keys = [key for key in columns.cells if key.startswith(VIEW)]
    if not keys:
        return Views(("",) * len(columns), ("",) * len(columns), ())
    rows = list(zip(*(columns.cells[key] for key in keys), strict=True))
    counts = Counter(rows)
    views = {cells: _view(cells) for cells in counts}
    reasons = {cells: _reason(cells) for cells in counts}
    unknown = Counter[str]()
    for cells, number in counts.items():
        unknown.update({text: number for text in cells if _is_unknown(text)})
    told = ", ".join(repr(text[:40]) for text in sorted(unknown)[:5])
    notes = (f"took {unknown.total():,} views as unknown ({told})",) if unknown else ()
    return Views(tuple(views[row] for row in rows), tuple(reasons[row] for row in rows), notes)


def _view(cells: tuple[str, ...]) -> str:
    return next((text.upper() for text in cells if text.upper() in _FRONTAL), "")


def _reason(cells: tuple[str, ...]) -> str:
    other = next((text for text in cells if text.upper() in _OTHER), None)
    return "" if other is None else f"not a frontal view: {other}"


def _is_unknown(text: str) -> bool:
    return text.upper() not in (*_FRONTAL, *_POSITION_UNKNOWN, *_OTHER)
