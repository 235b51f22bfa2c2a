"""Splits by patient: stratified, or published as lists or by the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrbench.data.cohort import are_dominant
from cxrbench.data.lists import assign_parts, read_lists
from cxrbench.data.stratify import stratify, with_usable_validation
from cxrbench.errors import DataError, PluginError, SettingsError
from cxrbench.interfaces import Cohort, Dataset
from cxrbench.output.files import digest_of

PARTS = ("train", "val", "test")
DEFAULT_FRACTIONS = (0.7, 0.1, 0.2)

Fractions = tuple[float, float, float]
"""The shares of patients in train, val and test; they sum to 1."""

_PUBLISHED = (*PARTS, "train_val", "")


@dataclass(frozen=True, eq=False)
class Split:
    """Each image's part; a patient's images are all in the same.

    ``parts`` (N,) str in the cohort's order: ``train``, ``val``, ``test``, or ``""`` for an image
    in none. ``kind`` is ``patient``, ``official``, ``lists`` or ``predictions``. ``hash`` is
    SHA-256 (hex) of the sorted pairs of image id and part; it does not depend on the order of the
    cohort. ``list_name`` and ``list_sha256`` say which published lists were used, if any.
    ``shared_patients`` counts patients in two parts, which only the user can allow. ``notes`` are
    for people.
    """

    parts: np.ndarray
    kind: str
    seed: int
    fractions: Fractions
    hash: str
    list_name: str | None = None
    list_sha256: str | None = None
    shared_patients: int = 0
    notes: tuple[str, ...] = ()

    def rows(self, part: str) -> np.ndarray:
        """The cohort's rows (n,) in this part, ascending."""
        if part not in PARTS:
            raise ValueError(f"{part!r} is none of {', '.join(PARTS)}")
        return np.flatnonzero(self.parts == part)


def make_split(
    cohort: Cohort,
    dataset: Dataset | None,
    spec: str = "patient",
    fractions: Fractions = DEFAULT_FRACTIONS,
    seed: int = 0,
    *,
    allow_overlap: bool = False,
) -> Split:
    """The split that ``--split`` names: ``patient``, ``official``, ``official:DIR``, ``lists:DIR``.

    ``allow_overlap`` accepts published parts that share patients.

    Raises
    ------
    SettingsError : an unknown ``spec``, or fractions or a seed that cannot work.
    DataError : there is no official split, lists do not fit, or there are too few patients.
    """
    kind, colon, folder = spec.partition(":")
    where = Path(folder).expanduser() if folder else None
    if spec == "patient":
        return split_by_patient(cohort, fractions=fractions, seed=seed)
    if not (kind in ("official", "lists") and bool(colon) == bool(where)) or spec == "lists":
        raise SettingsError(
            f"Unknown split {spec!r}",
            expected="patient, official, official:DIR or lists:DIR, with the folder of the lists",
            found=repr(spec),
            fix="--split patient, unless there are published lists",
        )
    notes: tuple[str, ...] = ()
    sha256: str | None
    if kind == "lists" and where is not None:
        lists = read_lists(where)
        parts, notes = assign_parts(cohort, lists)
        name, sha256 = lists.name, lists.sha256
    elif dataset is None or (official := dataset.official_parts(cohort, where)) is None:
        raise DataError(
            f"The dataset {cohort.name!r} has no official split",
            expected="a dataset with a published split",
            found="none",
            fix="use --split patient",
        )
    else:
        parts, (name, sha256) = official, dataset.official_list(where)
    split = split_official(
        cohort, parts, fractions=fractions, seed=seed, allow_overlap=allow_overlap, kind=kind
    )
    return replace(split, list_name=name, list_sha256=sha256, notes=(*notes, *split.notes))


def split_by_patient(
    cohort: Cohort, *, fractions: Fractions = DEFAULT_FRACTIONS, seed: int = 0
) -> Split:
    """Stratify patients by the union of their images' labels (unknown counts as not positive).

    The same patients, labels, fractions and seed give the same split, whatever the order of the
    images and of the label columns. The method is `stratify`.

    Raises
    ------
    SettingsError : fractions or a seed that cannot work.
    DataError : patients are unknown, or too few for each part to have one.
    """
    _check_settings(fractions, seed)
    chosen = _stratified(cohort, np.arange(len(cohort)), fractions, seed)
    parts = np.array(PARTS, dtype="<U5")[chosen]
    return _finished(cohort, parts, "patient", fractions, seed)


def split_official(
    cohort: Cohort,
    parts: Sequence[str],
    *,
    fractions: Fractions = DEFAULT_FRACTIONS,
    seed: int = 0,
    allow_overlap: bool = False,
    kind: str = "official",
) -> Split:
    """Keep the published test set, and the published val set if there is one.

    Otherwise val is cut out of the published training patients by stratification; its share of
    them is ``val / (train + val)``.

    Parameters
    ----------
    parts : (N,) of ``train``, ``val``, ``test``, ``train_val`` and ``""``, in the cohort's order.

    Raises
    ------
    SettingsError : fractions or a seed that cannot work.
    PluginError : ``parts`` is not what `Dataset.official_parts` promises.
    DataError : a patient is in two parts, unless ``allow_overlap``; or a part would be empty.
    """
    _check_settings(fractions, seed)
    check_published(cohort, parts)
    published = np.array(parts, dtype="<U9")
    published[published == "train_val"] = "train"
    if not allow_overlap:
        check_disjoint(cohort, published)
    pool = np.flatnonzero(published == "train")
    if not (published == "val").any() and len(pool):
        shares = np.array(fractions[:2]) / sum(fractions[:2])
        published[pool] = np.array(PARTS)[_stratified(cohort, pool, shares.tolist(), seed)]
    return _finished(
        cohort, published.astype("<U5"), kind, fractions, seed, allow_overlap=allow_overlap
    )


def check_disjoint(cohort: Cohort, parts: np.ndarray) -> None:
    """Make sure that no patient is in two parts; images in none (``""``) do not count.

    Says nothing of a cohort whose patients are unknown.

    Raises
    ------
    DataError : names a few patients that are, and how many there are.
    """
    shared = shared_patients(cohort, parts)
    if shared:
        some = [f"{patient} ({' and '.join(sides)})" for patient, sides in shared.items()]
        raise DataError(
            "The split leaks: the same patients are in two splits",
            expected="all images of a patient in one split",
            found=f"{_counts_of(shared)}, such as {', '.join(some[:3])}",
            fix="correct the published lists or the patient ids, or use --split patient; "
            "--allow-overlap uses the lists as they are, and the leaderboard says so",
        )


def shared_patients(cohort: Cohort, parts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The parts of each patient who is in several, in the order of `PARTS`.

    Images in none (``""``) do not count. Empty for a cohort whose patients are unknown.
    """
    of_patient: dict[str, set[str]] = {}
    for patient, part in zip(cohort.patient_ids, map(str, parts), strict=True):
        if part:
            of_patient.setdefault(patient, set()).add(part)
    return {
        patient: tuple(sorted(sides, key=PARTS.index))
        for patient, sides in of_patient.items()
        if len(sides) > 1
    }


def _counts_of(shared: Mapping[str, tuple[str, ...]]) -> str:
    """How many patients are in which parts: ``3 patients in two splits (3 in train and test)``."""
    counts = Counter(" and ".join(sides) for sides in shared.values())
    each = ", ".join(f"{count:,} in {sides}" for sides, count in counts.most_common())
    return f"{len(shared):,} patients in two splits ({each})"


def split_hash(image_ids: Sequence[str], parts: Sequence[str]) -> str:
    """SHA-256 (hex) of the JSON of the sorted pairs [image id, part]."""
    pairs = sorted(zip(image_ids, parts, strict=True))
    return digest_of(pairs)


def _unknown_patients(cohort: Cohort) -> DataError:
    return DataError(
        f"The patients of {cohort.name!r} are unknown, so they cannot be split",
        expected="patient ids, or a published split into train, val and test",
        found="a cohort without patient ids",
        fix="use --split official, if the dataset has a published split; images of one patient "
        "in two splits would make every score too high",
    )


def _stratified(
    cohort: Cohort, rows: np.ndarray, fractions: Sequence[float], seed: int
) -> np.ndarray:
    """Each of these rows' part as a number, by stratifying their patients."""
    if not cohort.patients_known:
        raise _unknown_patients(cohort)
    ids = np.array([cohort.patient_ids[row] for row in rows.tolist()])
    patients, patient_of = np.unique(ids, return_inverse=True)
    by_name = np.argsort(np.array(cohort.label_names), kind="stable")
    labels = cohort.labels[rows][:, by_name]

    def having(value: float) -> np.ndarray:
        has = np.zeros((len(patients), len(by_name)), dtype=bool)
        image, label = np.nonzero(labels == value)
        has[patient_of[image], label] = True
        return has

    positive = having(1)
    kept = are_dominant(np.bincount(patient_of), fractions)
    parts = np.zeros(len(patients), int)
    parts[~kept] = stratify(positive[~kept], fractions, seed)
    val = labels[parts[patient_of] == 1]
    if not ((val == 1).any(axis=0) & (val == 0).any(axis=0)).any():
        parts = with_usable_validation(parts, positive, having(0), kept)
    return parts[patient_of]


def split_predictions(cohort: Cohort, tested: Sequence[str]) -> Split:
    """The images ``tested`` are the test split; those of other patients are for training.

    There is no validation split. Other images of tested patients are in no part.

    Raises
    ------
    DataError : patients are unknown, or none is left for training.
    """
    if not cohort.patients_known:
        raise _unknown_patients(cohort)
    inside = np.isin(np.array(cohort.image_ids, dtype=str), list(tested))
    patients = np.array(cohort.patient_ids, dtype=str)
    of_tested = np.isin(patients, np.unique(patients[inside]))
    parts = np.where(inside, "test", np.where(of_tested, "", "train"))
    if not (parts == "train").any():
        raise DataError(
            "The predictions cover images of every patient",
            expected="some patients without a prediction, whose labels give the prevalence",
            found=f"{len(np.unique(patients)):,} patients, all with predictions",
            fix="give a label table with more patients, or --split patient or official",
        )
    digest = split_hash(cohort.image_ids, parts.tolist())
    return Split(parts, "predictions", 0, DEFAULT_FRACTIONS, digest)


def _finished(
    cohort: Cohort,
    parts: np.ndarray,
    kind: str,
    fractions: Fractions,
    seed: int,
    *,
    allow_overlap: bool = False,
) -> Split:
    shared = shared_patients(cohort, parts) if allow_overlap else {}
    if not allow_overlap:
        check_disjoint(cohort, parts)
    empty = [part for part in PARTS if not (parts == part).any()]
    if empty:
        raise DataError(
            f"The {kind} split has no images for {' and '.join(empty)}",
            expected="at least one patient in each of train, val and test",
            found=f"{len(set(cohort.patient_ids)):,} patients, {len(cohort):,} images",
            fix="use more patients, or --split patient if the published lists do not fit",
        )
    digest = split_hash(cohort.image_ids, parts.tolist())
    notes = (f"Warning: {_counts_of(shared)}: scores may be too high",) if shared else ()
    return Split(parts, kind, seed, fractions, digest, shared_patients=len(shared), notes=notes)


def _check_settings(fractions: Fractions, seed: int) -> None:
    total = sum(fractions)
    if len(fractions) != len(PARTS) or not all(f > 0 for f in fractions) or abs(total - 1) > 1e-6:
        raise SettingsError(
            "The split fractions are invalid",
            expected="three positive numbers (train, val, test) that sum to 1",
            found=f"{', '.join(map(str, fractions))}, which sum to {total}",
            fix="for example 0.7, 0.1, 0.2",
        )
    if seed < 0:
        raise SettingsError(
            "The seed of the split is negative",
            expected="0, 1, 2, ...",
            found=str(seed),
            fix="--split-seed 0",
        )


def check_published(cohort: Cohort, parts: Sequence[str]) -> None:
    """Raise `PluginError` unless ``parts`` is what `Dataset.official_parts` promises."""
    unknown = sorted(set(parts) - set(_PUBLISHED))
    if unknown or len(parts) != len(cohort):
        words = ", ".join(map(repr, _PUBLISHED))
        raise PluginError(
            f"The dataset {cohort.name!r} returned a broken official split",
            expected=f"for each of {len(cohort):,} images one of {words}",
            found=f"{len(parts):,} values" + (f", among them {unknown[0]!r}" if unknown else ""),
            fix="correct the dataset's official_parts()",
        )
