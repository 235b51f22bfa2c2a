"""Which column of a table is what: as the options say, else by the usual headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cxrbench import DataError, Table

JOINER = "+"
"""Joins several names in one option; a comma ends the option."""

HEADINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("image", "Image Index", "path", "image_id"),
        "patient": ("patient", "Patient ID", "patient_id", "subject_id"),
        "age": ("age", "Patient Age"),
        "sex": ("sex", "Patient Gender", "Patient Sex", "gender"),
        "findings": ("findings", "Finding Labels"),
        "split": ("split",),
    }
)
"""What a column may be called where no option names it; the first that is there is used."""

VIEW_HEADINGS = ("view", "View Position", "ViewPosition", "Frontal/Lateral", "AP/PA")
"""Columns that tell the view; all that are there are used."""

LABEL = "label:"
VIEW = "view:"


def names_in(text: str) -> tuple[str, ...]:
    """The names in an option such as ``Mass+Nodule``."""
    return tuple(name.strip() for name in text.split(JOINER) if name.strip())


def wanted_columns(table: Table, given: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What each column is called, by keys; those of views and labels begin with `VIEW`, `LABEL`.

    ``given`` has the options ``image``, ``patient``, ``age``, ``sex``, ``findings``, ``split``,
    ``view`` and ``labels``, ``""`` where one is not given. ``labels`` are columns, or names in the
    column of findings where the table has one and no such columns. Without labels and findings,
    every column that is nothing else is a label.

    Raises
    ------
    DataError : a column that an option names is not there, or none is left for labels.
    """
    usual = {**HEADINGS, **{f"{VIEW}{name}": (name,) for name in VIEW_HEADINGS}}
    named = {key: (given[key],) for key in HEADINGS if given[key]}
    named |= {f"{VIEW}{name}": (name,) for name in names_in(given["view"])}
    labels = {f"{LABEL}{name}": (name,) for name in names_in(given["labels"])}
    in_one_column = given["findings"] or table.places({"": usual["findings"]})
    if labels and (table.places(labels) or not in_one_column) and not given["findings"]:
        named |= labels
        del usual["findings"]
    if given["view"]:
        usual = {key: names for key, names in usual.items() if not key.startswith(VIEW)}
    wanted = {**usual, **named}
    places = table.places(wanted)
    for key, names in named.items():
        if key not in places:
            raise table.missing_column(names)
    wanted = {key: names for key, names in wanted.items() if key in places}
    if not given["labels"] and "findings" not in wanted:
        rest = [t for i, t in enumerate(table.header) if t and i not in places.values()]
        wanted |= {f"{LABEL}{title}": (title,) for title in rest}
        if not rest:
            raise _no_labels(table)
    return wanted


def keys_of(cells: Mapping[str, Sequence[str]], prefix: str) -> list[str]:
    """The keys that begin with `VIEW` or `LABEL`, in their order."""
    return [key for key in cells if key.startswith(prefix)]


def _no_labels(table: Table) -> DataError:
    return DataError(
        f"{table.path} has no labels.",
        expected="a column for each label, or one with all labels of an image",
        found=f"the columns {', '.join(map(repr, table.header[:20]))}",
        fix="name them: --data csv:path=…,labels=A+B, or findings=COLUMN",
    )
