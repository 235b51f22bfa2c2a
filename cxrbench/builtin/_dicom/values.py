"""Single values of a header, whatever their representation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def text(elements: Dataset, keyword: str) -> str:
    """The first value of an element without spaces around it, ``""`` where there is none."""
    value = _first(elements, keyword)
    return "" if value is None else str(value).strip(" \0")


def whole_number(elements: Dataset, keyword: str, default: int) -> int:
    """A whole number, ``default`` where there is none."""
    told = text(elements, keyword)
    return int(told) if told else default


def real_number(elements: Dataset, keyword: str) -> float | None:
    """A number, the first where there are several; None where there is none."""
    value = _first(elements, keyword)
    return None if value in (None, "") else float(value)


def _first(elements: Dataset, keyword: str) -> Any:
    from pydicom.multival import MultiValue

    value = elements.get(keyword)
    if isinstance(value, MultiValue):
        return value[0] if value else None
    return value
