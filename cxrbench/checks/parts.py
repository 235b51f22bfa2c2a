"""Checks of the parts: official lists that share patients, splits that cannot be, rare labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from cxrbench.checks.finding import Finding, Item, finding
from cxrbench.data.splits import Split, check_published, make_split
from cxrbench.errors import DataError
from cxrbench.interfaces import Cohort, Dataset
from cxrbench.metrics.patients import MIN_PATIENTS, patient_table
from cxrbench.settings import Settings


def check_official(dataset: Dataset, cohort: Cohort, settings: Settings) -> tuple[Finding, ...]:
    """Patients in two official parts; ``--split official:DIR`` says which lists."""
    kind, _, folder = settings.split.partition(":")
    folder = folder if kind == "official" else ""
    try:
        parts = dataset.official_parts(cohort, Path(folder).expanduser() if folder else None)
    except DataError as error:
        return finding("no-official-split", [Item((), str(error))])
    if parts is None:
        return ()
    check_published(cohort, parts)
    return finding("official-parts-share-patients", _shared(cohort, parts))


def try_split(
    cohort: Cohort, dataset: Dataset, settings: Settings
) -> tuple[Split | None, tuple[Finding, ...]]:
    """The split that a run with these settings would use, or why there is none.

    Raises
    ------
    SettingsError, PluginError : the settings or the dataset are wrong, not the data.
    """
    try:
        split = make_split(cohort, dataset, settings.split, settings.fractions, settings.split_seed)
    except DataError as error:
        return None, finding("unusable-split", [Item((), str(error))])
    return split, ()


def check_split(cohort: Cohort, split: Split) -> tuple[Finding, ...]:
    """Labels that will not count in macro on this split's test part."""
    rows = split.rows("test")
    table = patient_table(cohort.labels[rows], [cohort.patient_ids[row] for row in rows.tolist()])
    has = table.positives > 0
    without = ((table.negatives > 0) & ~has).sum(axis=0)
    counts = zip(cohort.label_names, has.sum(axis=0).tolist(), without.tolist(), strict=True)
    whose = "patients" if cohort.patients_known else "images"
    return finding(
        "too-rare-in-test",
        (
            Item((), f"{name}: {positive} test {whose} with it, {negative} without")
            for name, positive, negative in counts
            if min(positive, negative) < MIN_PATIENTS
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
