"""Checks of the table and of the split: labels, ages, rows left out, patients in two lists."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cxrbench.checks.finding import CHECKS, Finding, Item, finding
from cxrbench.data.cohort import dominant_patients
from cxrbench.data.finding_cells import is_disease, label_key
from cxrbench.data.lists import assign_parts, read_lists
from cxrbench.data.record_cells import MAX_AGE, similar_ids
from cxrbench.data.splits import Split, check_published, make_split
from cxrbench.data.tables import shortened
from cxrbench.errors import DataError, PluginError
from cxrbench.interfaces import Cohort, Dataset, Exclusion, Fault
from cxrbench.metrics.patients import MIN_PATIENTS, UNKNOWN_PATIENTS, patient_table
from cxrbench.modeling.train import require_two_classes
from cxrbench.settings import Settings


def check_table(cohort: Cohort) -> tuple[Finding, ...]:
    """Faults that any dataset's cohort can have, whatever its table looks like."""
    return (
        *finding("no-finding-and-finding", _contradictions(cohort)),
        *finding("impossible-age", _ages(cohort)),
        *finding("unlabelled", _unlabelled(cohort)),
        *finding("unknown-patients", _unknown_patients(cohort)),
        *finding("similar-patients", _similar_patients(cohort)),
        *finding("similar-labels", _odd_labels(cohort)),
        *_left_out(cohort.excluded),
        *finding("note", (Item((), note) for note in cohort.notes)),
    )


def check_faults(faults: Sequence[Fault]) -> tuple[Finding, ...]:
    """The dataset's own faults, one finding for each check.

    Raises
    ------
    PluginError : the dataset names an unknown check.
    """
    by_check = defaultdict(list)
    for fault in faults:
        if fault.check not in CHECKS:
            raise PluginError(
                f"a dataset's examine() names the check {fault.check!r}",
                expected=f"one of {', '.join(CHECKS)}",
                found=fault.check,
            )
        images = (fault.image_id,) if fault.image_id else ()
        by_check[fault.check].append(Item(images, fault.found))
    return tuple(one for name, items in by_check.items() for one in finding(name, items))


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each check, errors first, in the order of `CHECKS`."""
    by_check: dict[str, list[Finding]] = defaultdict(list)
    for one in findings:
        by_check[one.check].append(one)
    joined: list[Finding] = []
    for name in CHECKS:
        same = by_check.get(name, [])
        if len(same) > 1:
            joined += finding(name, (item for one in same for item in one.items))
        else:
            joined += same
    return tuple(joined)


def _contradictions(cohort: Cohort) -> list[Item]:
    if cohort.no_finding is None:
        return []
    column = cohort.label_names.index(cohort.no_finding)
    diseases = [i for i, n in enumerate(cohort.label_names) if i != column and is_disease(n)]
    others = cohort.labels[:, diseases]
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


def _similar_patients(cohort: Cohort) -> list[Item]:
    if not cohort.patients_known:
        return []
    return [Item((), " = ".join(group)) for group in similar_ids(cohort.patient_ids)]


def _odd_labels(cohort: Cohort) -> list[Item]:
    """Names that are alike, and names of several labels, as a wrong separator makes them."""
    names = cohort.label_names
    items = [Item((), " = ".join(map(repr, group))) for group in similar_ids(names)]
    keys = {label_key(name) for name in names}
    for name in names:
        pieces = {
            label_key(piece) for piece in re.split(r"[\[\]{}|;,/&+\t'\"]", name) if piece.strip()
        }
        several = len(pieces) > 1 and len(pieces & keys) > 0
        if several or name[:1] in "[{" or name[-1:] in "]}":
            items.append(Item((), f"{shortened(repr(name))} looks like several labels"))
    return items


def _left_out(excluded: Sequence[Exclusion]) -> tuple[Finding, ...]:
    return finding("left-out", (Item((one.image_id,), one.reason) for one in excluded))


def check_official(dataset: Dataset, cohort: Cohort, settings: Settings) -> tuple[Finding, ...]:
    """Patients in two published parts, which ``--split official:DIR`` or ``lists:DIR`` names."""
    kind, _, folder = settings.split.partition(":")
    where = Path(folder).expanduser() if folder else None
    try:
        if kind == "lists" and where is not None:
            parts: Sequence[str] | None = assign_parts(cohort, read_lists(where))[0]
        else:
            parts = dataset.official_parts(cohort, where)
    except DataError as error:
        if kind == "lists":  # `try_split` reports them
            return ()
        return finding("no-official-split", [Item((), str(error))])
    if parts is None:
        return ()
    check_published(cohort, parts)
    return finding("official-parts-share-patients", _shared(cohort, parts))


def try_split(
    cohort: Cohort, dataset: Dataset, settings: Settings
) -> tuple[Split | None, tuple[Finding, ...]]:
    """The split of a run with these settings, or the finding that it is not possible.

    Raises
    ------
    SettingsError, PluginError : the settings or the dataset are wrong, not the data.
    """
    try:
        split = make_split(
            cohort,
            dataset,
            settings.split,
            settings.fractions,
            settings.split_seed,
            allow_overlap=settings.allow_overlap,
        )
    except DataError as error:
        return None, finding("unusable-split", [Item((), str(error))])
    try:
        require_two_classes(cohort.labels[split.rows("val")])
    except DataError as error:
        return split, finding("unusable-split", [Item((), str(error))])
    return split, ()


def check_split(cohort: Cohort, split: Split) -> tuple[Finding, ...]:
    """Labels that do not count in macro on this test split, and patients with many images."""
    rows = split.rows("test")
    table = patient_table(cohort.labels[rows], [cohort.patient_ids[row] for row in rows.tolist()])
    has = table.positives > 0
    without = ((table.negatives > 0) & ~has).sum(axis=0)
    counts = zip(cohort.label_names, has.sum(axis=0).tolist(), without.tolist(), strict=True)
    whose = "patients" if cohort.patients_known else "images"
    dominant = dominant_patients(cohort, split.fractions)
    return (
        *finding("note", (Item((), note) for note in split.notes)),
        *finding("dominant-patient", (Item((), f"{text}") for text in dominant.values())),
        *finding(
            "too-rare-in-test",
            (
                Item((), f"{name}: {positive} test {whose} with it, {negative} without it")
                for name, positive, negative in counts
                if min(positive, negative) < MIN_PATIENTS
            ),
        ),
    )


def _shared(cohort: Cohort, parts: Sequence[str]) -> list[Item]:
    """One item for each patient; ``train`` and ``train_val`` are one side."""
    rows_of = defaultdict(list)
    for row, patient in enumerate(cohort.patient_ids):
        if parts[row]:
            rows_of[patient].append(row)
    items = []
    for patient, rows in rows_of.items():
        sides = sorted({parts[row] for row in rows})
        if len({side.removesuffix("_val") for side in sides}) > 1:
            images = tuple(cohort.image_ids[row] for row in rows)
            items.append(Item(images, f"patient {patient}: {' and '.join(sides)}"))
    return items
