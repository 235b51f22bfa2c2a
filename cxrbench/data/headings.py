"""What tables of images and their columns are usually called, and how options name several."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
"""How the name of a table ends, in small letters."""

HEADINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "patient": ("patient", "Patient ID", "patient_id", "subject_id"),
        "age": ("age", "Patient Age"),
        "sex": ("sex", "Patient Gender", "Patient Sex", "gender"),
        "view": ("view", "View Position", "ViewPosition", "Frontal/Lateral", "AP/PA"),
        "findings": ("findings", "Finding Labels"),
        "split": ("split",),
    }
)
"""What a column may be called where no option names it; the first that is there is used."""

JOINER = "+"
"""Joins several names in one option; a comma ends the option."""


def names_in(text: str) -> tuple[str, ...]:
    """The names in an option such as ``Mass+Nodule``."""
    return tuple(name.strip() for name in text.split(JOINER) if name.strip())
