"""Two tables as one: their rows joined by the columns that both have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cxrbench import DataError, Table, read_table


def join_table(
    table: Table,
    path: Path,
    wanted: Collection[str],
    *,
    misfits: list[DataError] | None,
    notes: list[str],
) -> tuple[Table, list[str]]:
    """The table with the columns ``wanted`` of another, which it does not have; those of both.

    Rows belong together if they agree in all columns that both tables have. A row with several
    partners is repeated; one without is left out. ``wanted`` are names in small letters.
    ``misfits`` is as for `read_table`. ``notes`` takes what was left out, once the rows are taken.

    Raises
    ------
    DataError : the tables have no column in common; while rows are taken, no row has a partner, or
        rows of both tables repeat the same values.
    """
    other = read_table(path, misfits=misfits)
    own = {title.lower() for title in table.header}
    shared = [title for title in other.header if title.lower() in own and _is_named(title)]
    if not shared:
        raise DataError(
            f"{table.path} and {path} have no column in common",
            expected="columns that say which rows belong together, such as study_id",
            found=f"the columns {', '.join(table.header[:12])}; {', '.join(other.header[:12])}",
            fix="name another table: also=FILE",
        )
    headings = {title: (title,) for title in shared}
    mine, theirs = table.places(headings), other.places(headings)
    more = [
        place
        for place, title in enumerate(other.header)
        if title.lower() in wanted and title.lower() not in own
    ]
    partners: dict[tuple[str, ...], list[list[str]]] = {}
    for _, row in other.rows:
        key = tuple(row[theirs[title]].strip() for title in shared)
        partners.setdefault(key, []).append([row[place] for place in more])
    rows = _joined(table, [mine[title] for title in shared], partners, path, shared, notes)
    header = (*table.header, *(other.header[place] for place in more))
    notes += other.notes
    return replace(table, header=header, rows=rows), shared


def _joined(
    table: Table,
    places: Sequence[int],
    partners: dict[tuple[str, ...], list[list[str]]],
    path: Path,
    shared: Sequence[str],
    notes: list[str],
) -> Iterator[tuple[int, list[str]]]:
    width = len(table.header)
    seen: dict[tuple[str, ...], int] = {}
    lost = 0
    for line, row in table.rows:
        key = tuple(row[place].strip() for place in places)
        cells = partners.get(key, ())
        lost += not cells
        first = seen.setdefault(key, line)
        if first != line and len(cells) > 1:
            raise DataError(
                f"Rows of {table.path} and of {path} both repeat the same {' and '.join(shared)}",
                expected="one table with a row for each image, the other with one for each study "
                "or patient",
                found=f"{', '.join(key)} in lines {first} and {line}, and in {len(cells)} rows of "
                f"{path.name}",
                fix="name a table that repeats none: also=FILE",
            )
        for more in cells:
            yield line, [*row[:width], *more]
    unused = len(partners.keys() - seen.keys())
    if seen and len(partners) == unused:
        raise DataError(
            f"No row of {table.path} has a partner in {path}",
            expected=f"rows that agree in {', '.join(shared)}",
            found=f"{next(iter(seen))} and {next(iter(partners), '')}",
            fix="name another table: also=FILE",
        )
    for number, one, another in ((lost, table.path, path), (unused, path, table.path)):
        if number:
            notes.append(
                f"{one.name}: {number:,} rows without a partner in {another.name} are left out"
            )


def _is_named(title: str) -> bool:
    return bool(title) and not title.lower().startswith("unnamed: ")
