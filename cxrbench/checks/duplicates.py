"""The same image more than once: across splits, across patients, or neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cxrbench.checks.finding import Finding, Item, finding
from cxrbench.checks.images import ImageScan, shows_something
from cxrbench.checks.likeness import same_films
from cxrbench.data.splits import Split
from cxrbench.interfaces import Cohort


def check_duplicates(cohort: Cohort, split: Split | None, films: ImageScan) -> tuple[Finding, ...]:
    """Equal files and equal films; images that show nothing are left to another check.

    Where patients are unknown, none can be said to be across them.
    """
    groups = _equal_files(films)
    copies = [rows for rows in groups if len(rows) > 1]
    near = list(_equal_films(films, groups))
    return (
        *_sorted_by_reach(cohort, split, films, copies, "duplicates"),
        *_sorted_by_reach(cohort, split, films, near, "near-duplicates"),
    )


def _equal_files(films: ImageScan) -> list[list[int]]:
    """Places in ``films`` by the content of the file, those that show something alone."""
    groups = defaultdict(list)
    for place in np.flatnonzero(shows_something(films)).tolist():
        groups[films.files[place].digest].append(place)
    return list(groups.values())


def _equal_films(films: ImageScan, groups: Sequence[list[int]]) -> Iterator[list[int]]:
    """Groups of different files that are pairwise linked as the same film."""
    first = np.array([places[0] for places in groups], np.int64)
    pairs = same_films(films.hashes[first], films.details[first])
    for linked in _components(pairs.tolist()):
        yield sorted(place for group in linked for place in groups[group])


def _components(pairs: Iterable[Sequence[int]]) -> list[list[int]]:
    group_of: dict[int, list[int]] = {}
    for one, other in pairs:
        joined = group_of.setdefault(one, [one])
        added = group_of.setdefault(other, [other])
        if joined is not added:
            if len(joined) < len(added):
                joined, added = added, joined
            joined += added
            group_of |= dict.fromkeys(added, joined)
    return list({id(group): group for group in group_of.values()}.values())


def _sorted_by_reach(
    cohort: Cohort,
    split: Split | None,
    films: ImageScan,
    groups: Sequence[list[int]],
    kind: str,
) -> Iterator[Finding]:
    items = defaultdict(list)
    for places in groups:
        rows = films.rows[places].tolist()
        check = _reach(cohort, split, rows)
        name = f"{kind}-{check}" if check else "repeated-film"
        items[name].append(_item(cohort, split, rows))
    for name, copies in items.items():
        yield from finding(name, copies)


def _parts(split: Split | None, rows: Sequence[int]) -> list[str]:
    return sorted({str(split.parts[row]) for row in rows} - {""}) if split else []


def _reach(cohort: Cohort, split: Split | None, rows: Sequence[int]) -> str:
    if len(_parts(split, rows)) > 1:
        return "across-parts"
    patients = {cohort.patient_ids[row] for row in rows}
    return "across-patients" if cohort.patients_known and len(patients) > 1 else ""


def _item(cohort: Cohort, split: Split | None, rows: Sequence[int]) -> Item:
    patients = dict.fromkeys(cohort.patient_ids[row] for row in rows)
    known = cohort.patients_known
    details = [f"patient {' and '.join(patients)}" if known else "unknown patients"]
    if parts := _parts(split, rows):
        details.append(" and ".join(parts))
    labels = cohort.labels[rows]
    if not np.array_equal(labels, np.broadcast_to(labels[0], labels.shape), equal_nan=True):
        details.append("with different labels")
    return Item(tuple(cohort.image_ids[row] for row in rows), ", ".join(details))
