"""Check a cohort against its contract, identify it by a fingerprint, and take rows of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cxrbench.errors import DataError, PluginError
from cxrbench.interfaces import Box, Cohort, Exclusion
from cxrbench.output.files import digest_of

_CODES = {"sexes": ("F", "M", ""), "views": ("PA", "AP", "")}


def validate(cohort: Cohort) -> None:
    """Check everything that `Cohort` promises; called once, right after a dataset's ``load``.

    Raises
    ------
    PluginError : a field has the wrong type, shape or values; names the dataset and the field.
    """
    if not isinstance(cohort, Cohort):
        raise PluginError(
            "A dataset's load() returned no Cohort",
            expected="a cxrbench.Cohort",
            found=type(cohort).__name__,
            fix="return Cohort(...) from load()",
        )
    _check_texts(cohort)
    _check_patients(cohort)
    _check_array(cohort, "labels", (len(cohort), len(cohort.label_names)))
    _check_array(cohort, "ages", (len(cohort),))
    _check_values(cohort)
    _check_boxes(cohort)


def fingerprint(cohort: Cohort, digests: Sequence[str]) -> str:
    """SHA-256 (hex) of all that a cohort says and of its images' content.

    The order of the rows and where the images lie make no difference; the order of the labels
    does. ``digests`` (N,) identify each image's content, in the cohort's order.
    """
    if len(digests) != len(cohort):
        raise ValueError(f"{len(cohort)} images, but {len(digests)} digests")
    order = _canonical(cohort.image_ids)
    table = [
        [column[row] for row in order]
        for column in (
            cohort.image_ids,
            cohort.patient_ids,
            cohort.sexes,
            cohort.views,
            digests,
        )
    ]
    ages = cohort.ages[order].astype("<f4")
    ages[np.isnan(ages)] = np.float32(np.nan)  # NaN has many bit patterns; hash one
    return digest_of(
        [
            *("cohort", cohort.name, cohort.label_names, cohort.no_finding, table),
            *_mark_of_unknown_patients(cohort.patients_known),
        ],
        _label_codes(cohort.labels[order]),
        ages,
    )


def board_key(
    label_names: Sequence[str],
    image_ids: Sequence[str],
    patient_ids: Sequence[str],
    y_true: np.ndarray,
    *,
    patients_known: bool = True,
) -> str:
    """SHA-256 (hex) of a test set: what two rows must share to stand on one board.

    ``y_true`` (N, L) holds 1, 0 and NaN in any dtype. The order of the images makes no
    difference; that of the labels does, since scores are stored in it.

    Raises
    ------
    DataError : an image comes twice, or a label is not 1, 0 or NaN.
    """
    if len(set(image_ids)) != len(image_ids):
        raise DataError(
            "The test set has an image twice",
            expected="each image once",
            found=_duplicate(image_ids),
            fix="keep one row per image",
        )
    if y_true.shape != (len(image_ids), len(label_names)) or len(patient_ids) != len(image_ids):
        raise ValueError(
            f"{len(image_ids)} images, {len(patient_ids)} patients, {len(label_names)} labels, "
            f"but y_true {y_true.shape}"
        )
    order = _canonical(image_ids)
    table = [[column[row] for row in order] for column in (image_ids, patient_ids)]
    return digest_of(
        ["board", list(label_names), table, *_mark_of_unknown_patients(patients_known)],
        _label_codes(y_true[order]),
    )


def take(cohort: Cohort, rows: np.ndarray) -> Cohort:
    """The cohort of these rows: indices (n,) in the order wanted, or a mask (N,) bool.

    Boxes of other images are dropped; exclusions and notes are kept.
    """
    index = np.arange(len(cohort))[rows]

    def pick(column: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(column[row] for row in index.tolist())

    image_ids = pick(cohort.image_ids)
    images = frozenset(image_ids)
    return replace(
        cohort,
        image_ids=image_ids,
        patient_ids=pick(cohort.patient_ids),
        labels=cohort.labels[index],
        ages=cohort.ages[index],
        sexes=pick(cohort.sexes),
        views=pick(cohort.views),
        sources=pick(cohort.sources),
        boxes=tuple(box for box in cohort.boxes if box.image_id in images),
    )


def _check_texts(cohort: Cohort) -> None:
    if not isinstance(cohort.name, str) or not cohort.name:
        raise _broken(cohort, "name", "a text that is not empty", repr(cohort.name))
    columns = ("image_ids", "patient_ids", "sexes", "views", "sources")
    for field in ("label_names", *columns, "notes"):
        value = getattr(cohort, field)
        if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
            raise _broken(cohort, field, "a tuple of str", _kind(value))
    for field in ("label_names", "image_ids", "patient_ids", "sources"):
        value = getattr(cohort, field)
        if not value or "" in value:
            raise _broken(cohort, field, "texts that are not empty", repr("") if value else "none")
    for field in ("label_names", "image_ids"):
        value = getattr(cohort, field)
        if len(set(value)) != len(value):
            raise _broken(cohort, field, "each text once", _duplicate(value))
    for field in columns:
        if len(getattr(cohort, field)) != len(cohort):
            count = f"{len(getattr(cohort, field)):,}"
            raise _broken(cohort, field, f"one for each of {len(cohort):,} image_ids", count)


def _check_patients(cohort: Cohort) -> None:
    if not isinstance(cohort.patients_known, bool):
        value = repr(cohort.patients_known)
        raise _broken(cohort, "patients_known", "True or False", value)
    if not cohort.patients_known and cohort.patient_ids != cohort.image_ids:
        raise _broken(
            cohort,
            "patient_ids",
            "the image_ids, since patients_known is False",
            f"{cohort.patient_ids[0]!r} for the image {cohort.image_ids[0]!r}, and so on",
        )


def _check_array(cohort: Cohort, field: str, shape: tuple[int, ...]) -> None:
    array = getattr(cohort, field)
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.float32:
        kind = (
            f"{array.dtype} {array.shape}"
            if isinstance(array, np.ndarray)
            else type(array).__name__
        )
        raise _broken(cohort, field, f"an array of float32 {shape}", kind)


def _check_values(cohort: Cohort) -> None:
    labels = cohort.labels
    odd = ~((labels == 0) | (labels == 1) | np.isnan(labels))
    if odd.any():
        row, column = np.argwhere(odd)[0]
        value = f"{labels[row, column]} for {cohort.label_names[column]} of {_image(cohort, row)}"
        raise _broken(cohort, "labels", "1, 0 or NaN", value)
    odd = np.isinf(cohort.ages) | (cohort.ages < 0)
    if odd.any():
        row = np.flatnonzero(odd)[0]
        value = f"{cohort.ages[row]} for {_image(cohort, row)}"
        raise _broken(cohort, "ages", "years, NaN where unknown", value)
    for field, codes in _CODES.items():
        values = getattr(cohort, field)
        if strange := sorted(set(values) - set(codes)):
            row = values.index(strange[0])
            value = f"{strange[0]!r} for {_image(cohort, row)}"
            raise _broken(cohort, field, f"one of {', '.join(map(repr, codes))}", value)
    if cohort.no_finding is not None and cohort.no_finding not in cohort.label_names:
        expected = "one of label_names, or None where no label means 'no finding'"
        raise _broken(cohort, "no_finding", expected, repr(cohort.no_finding))


def _check_boxes(cohort: Cohort) -> None:
    images, labels = frozenset(cohort.image_ids), frozenset(cohort.label_names)
    for box in cohort.boxes:
        if not isinstance(box, Box):
            raise _broken(cohort, "boxes", "a tuple of Box", f"a {type(box).__name__} in it")
        if box.image_id not in images or box.label not in labels:
            raise _broken(cohort, "boxes", "an image and a label of the cohort", repr(box))
        sides = (box.x, box.y, box.width, box.height)
        if not all(map(math.isfinite, sides)) or min(box.width, box.height) <= 0:
            raise _broken(cohort, "boxes", "finite places and positive sizes", repr(box))
    if not all(isinstance(item, Exclusion) for item in cohort.excluded):
        raise _broken(cohort, "excluded", "a tuple of Exclusion", _kind(cohort.excluded))


def _broken(cohort: Cohort, field: str, expected: str, value: str) -> PluginError:
    return PluginError(
        f"The dataset {cohort.name!r} returned a cohort with a broken {field!r}",
        expected=expected,
        found=value,
        fix=f"correct {field!r} in the dataset's load(); see cxrbench.Cohort",
    )


def _image(cohort: Cohort, row: int) -> str:
    return f"image {cohort.image_ids[row]!r} (row {row})"


def _kind(value: object) -> str:
    if not isinstance(value, tuple):
        return type(value).__name__
    kinds = sorted({type(item).__name__ for item in value})
    return f"a tuple of {', '.join(kinds)}"


def _duplicate(values: Sequence[str]) -> str:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return f"{value!r} {list(values).count(value)} times"
        seen.add(value)
    raise ValueError("no duplicate")


def _canonical(image_ids: Sequence[str]) -> list[int]:
    return sorted(range(len(image_ids)), key=image_ids.__getitem__)


def _label_codes(labels: np.ndarray) -> np.ndarray:
    values = np.asarray(labels, dtype=np.float64)
    codes = np.select([values == 0, values == 1, np.isnan(values)], [0, 1, 2], default=3)
    if (codes == 3).any():
        raise DataError(
            "A label is not 1, 0 or NaN",
            expected="1, 0 or NaN (unknown)",
            found=str(values[codes == 3][0]),
            fix="correct the table that the labels come from",
        )
    return codes.astype(np.uint8)


def _mark_of_unknown_patients(patients_known: bool) -> list[str]:
    return [] if patients_known else ["patients unknown"]


def require_boxes(cohort: Cohort, rows: np.ndarray) -> None:
    """Raise `DataError` unless one of the test images, at these rows of the cohort, has a box."""
    test = {cohort.image_ids[row] for row in rows.tolist()}
    if not any(box.image_id in test for box in cohort.boxes):
        raise no_box(cohort, len(test))


def no_box(cohort: Cohort, images: int) -> DataError:
    """The error where none of so many test images of a cohort has a box."""
    return DataError(
        f"none of the {images:,} test images of {cohort.name!r} has a box",
        expected="a dataset with boxes, such as NIH with BBox_List_2017.csv next to its table",
        found=f"{len(cohort.boxes):,} boxes on other images" if cohort.boxes else "no boxes",
        fix="with NIH, add --split official: all its boxes are on images of the official test list",
    )


def require_files(cohort: Cohort, max_bad: float) -> None:
    """Raise `DataError` if a larger share of the table's rows than ``max_bad`` has no file."""
    rows = len(cohort) + cohort.absent
    if cohort.absent <= max_bad * rows:
        return
    share = math.ceil(100 * cohort.absent / rows) / 100
    ids = [one.image_id for one in cohort.excluded]
    raise DataError(
        f"{cohort.absent:,} of {rows:,} rows have no image file",
        expected=f"at most {max_bad:.3g} of them without (--max-bad)",
        found=f"left out: {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}",
        fix="check the folder of the images, and if all archives are unpacked; "
        f"--max-bad {share:g} accepts the missing images",
    )


def are_dominant(counts: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Which patients (N,) bool have so many of the images that they would fill a split.

    They have more than the smallest of ``fractions``, and over ten times as many as the median
    patient. `split_by_patient` keeps them in training. ``counts`` (N,) are images of each.
    """
    return counts > max(min(fractions) * counts.sum(), 10 * float(np.median(counts)))


def dominant_patients(cohort: Cohort, fractions: Sequence[float]) -> dict[str, str]:
    """The patients that `are_dominant`, and a sentence about each."""
    if not cohort.patients_known:
        return {}
    counts = Counter(cohort.patient_ids)
    dominant = are_dominant(np.array(list(counts.values())), fractions)
    return {
        patient: f"patient {patient} has {number:,} of {len(cohort):,} images; a split by patient "
        "keeps this patient in training"
        for (patient, number), many in zip(counts.items(), dominant.tolist(), strict=True)
        if many
    }
