"""Which column of a table is what: as the options say, else by the usual headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrbench import HEADINGS, LabelOptions, Table, names_in

IMAGE = ("image", "Image Index", "path", "image_id")
"""What the column of images may be called where no option names it."""

VIEW = "view:"


def wanted_columns(
    table: Table, given: Mapping[str, str], labels: LabelOptions
) -> dict[str, tuple[str, ...]]:
    """What each column is called, by keys; those of views begin with `VIEW`.

    ``given`` has the options ``image``, ``patient``, ``age``, ``sex``, ``split`` and ``view``,
    ``""`` where one is not given. All columns that tell the view are used. Where nothing says which
    columns are labels, every column that is nothing else is one.

    Raises
    ------
    DataError : a column that an option names is not there, or none is left for labels.
    """
    usual = {"image": IMAGE, **{key: HEADINGS[key] for key in ("patient", "age", "sex", "split")}}
    named: dict[str, tuple[str, ...]] = {key: (given[key],) for key in usual if given[key]}
    named |= _views(names_in(given["view"]))
    usual |= {} if given["view"] else _views(HEADINGS["view"])
    wanted = {**usual, **named}
    places = table.places(wanted)
    for key, names in named.items():
        if key not in places:
            raise table.missing_column(names)
    wanted = {key: names for key, names in wanted.items() if key in places}
    taken = [table.header[place] for place in places.values()]
    return {**wanted, **labels.columns(table, taken)}


def _views(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {f"{VIEW}{name}": (name,) for name in names}
