"""Checks of the table alone: labels, ages, what is left out, and what the dataset told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from cxrbench.checks.finding import CHECKS, Finding, Item, finding
from cxrbench.data.record_cells import MAX_AGE
from cxrbench.errors import PluginError
from cxrbench.interfaces import Cohort, Exclusion, Fault
from cxrbench.metrics.patients import UNKNOWN_PATIENTS


def check_table(cohort: Cohort) -> tuple[Finding, ...]:
    """Faults that any dataset's cohort can have, whatever its table looks like."""
    return (
        *finding("no-finding-and-finding", _contradictions(cohort)),
        *finding("impossible-age", _ages(cohort)),
        *finding("unlabelled", _unlabelled(cohort)),
        *finding("unknown-patients", _unknown_patients(cohort)),
        *_left_out(cohort.excluded),
        *finding("note", (Item((), note) for note in cohort.notes)),
    )


def check_faults(faults: Sequence[Fault]) -> tuple[Finding, ...]:
    """What the dataset itself found wrong, one finding for each check.

    Raises
    ------
    PluginError : the dataset names a check that there is not.
    """
    by_check = defaultdict(list)
    for fault in faults:
        if fault.check not in CHECKS:
            raise PluginError(
                f"a dataset's examine() names the check {fault.check!r}",
                expected=f"one of {', '.join(CHECKS)}",
                found=repr(fault.check),
            )
        images = (fault.image_id,) if fault.image_id else ()
        by_check[fault.check].append(Item(images, fault.found))
    return tuple(found for name, items in by_check.items() for found in finding(name, items))


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each check, errors first, in the order of `CHECKS`."""
    by_check: dict[str, list[Finding]] = defaultdict(list)
    for found in findings:
        by_check[found.check].append(found)
    joined: list[Finding] = []
    for name in CHECKS:
        same = by_check.get(name, [])
        if len(same) > 1:
            joined += finding(name, (item for found in same for item in found.items))
        else:
            joined += same
    return tuple(joined)


def _contradictions(cohort: Cohort) -> list[Item]:
    if cohort.no_finding is None:
        return []
    column = cohort.label_names.index(cohort.no_finding)
    others = np.delete(cohort.labels, column, axis=1)
    rows = np.flatnonzero((cohort.labels[:, column] == 1) & (others == 1).any(axis=1))
    return [Item((cohort.image_ids[row],), _positive(cohort, row)) for row in rows.tolist()]


def _positive(cohort: Cohort, row: int) -> str:
    names = zip(cohort.label_names, cohort.labels[row], strict=True)
    return ", ".join(name for name, value in names if value == 1)


def _ages(cohort: Cohort) -> list[Item]:
    rows = np.flatnonzero(cohort.ages > MAX_AGE).tolist()
    return [Item((cohort.image_ids[row],), f"{cohort.ages[row]:g} years") for row in rows]


def _unlabelled(cohort: Cohort) -> list[Item]:
    """Nothing known, or nothing positive where 'no finding' is a label of its own."""
    empty = np.isnan(cohort.labels).all(axis=1)
    if cohort.no_finding is not None:
        empty |= (cohort.labels == 0).all(axis=1)
    return [Item((cohort.image_ids[row],), "no label") for row in np.flatnonzero(empty).tolist()]


def _unknown_patients(cohort: Cohort) -> list[Item]:
    return [] if cohort.patients_known else [Item((), UNKNOWN_PATIENTS)]


def _left_out(excluded: Sequence[Exclusion]) -> tuple[Finding, ...]:
    return finding("left-out", (Item((one.image_id,), one.reason) for one in excluded))
