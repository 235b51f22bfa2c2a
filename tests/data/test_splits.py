"""Splits: by patient, reproducible from labels and seed alone, as published where asked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench.data.cohort import dominant_patients, take
from cxrbench.data.splits import (
    DEFAULT_FRACTIONS,
    PARTS,
    check_disjoint,
    make_split,
    split_by_patient,
    split_official,
    split_predictions,
)
from cxrbench.errors import DataError, PluginError, SettingsError
from cxrbench.interfaces import Cohort, Dataset


def cohort(images_of: list[int], seed: int = 0) -> Cohort:
    """Patient i has ``images_of[i]`` images; labels are drawn, some unknown."""
    rng = np.random.default_rng(seed)
    patients = tuple(f"p{i}" for i, number in enumerate(images_of) for _ in range(number))
    n = len(patients)
    labels = (rng.random((n, 4)) < (0.02, 0.1, 0.3, 0.6)).astype(np.float32)
    labels[rng.random((n, 4)) < 0.05] = np.nan
    return Cohort(
        name="made",
        label_names=("Hernia", "Mass", "Edema", "No Finding"),
        image_ids=tuple(f"image {i}" for i in range(n)),
        patient_ids=patients,
        labels=labels,
        ages=np.full(n, np.nan, dtype=np.float32),
        sexes=("",) * n,
        views=("",) * n,
        sources=("",) * n,
    )


def uneven(seed: int = 0) -> Cohort:
    """200 patients, one of them with 184 images as in NIH's test set."""
    numbers = np.random.default_rng(seed).geometric(0.4, 200)
    numbers[7] = 184
    return cohort(numbers.tolist(), seed)


def part_of_each_patient(of: Cohort, parts: np.ndarray) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for patient, part in zip(of.patient_ids, parts.tolist(), strict=True):
        found.setdefault(patient, set()).add(part)
    assert all(len(several) == 1 for several in found.values())
    return {patient: several.pop() for patient, several in found.items()}


@settings(max_examples=40, deadline=None)
@given(images_of=st.lists(st.integers(1, 9), min_size=15, max_size=60), seed=st.integers(0, 2**32))
def test_every_patient_is_in_exactly_one_part(images_of, seed):
    made = cohort(images_of, seed)

    try:
        split = split_by_patient(made, seed=seed)
    except DataError as error:
        # A part may stay empty for a handful of patients; that must be said.
        if "has no images for" not in str(error):
            raise
        return

    parts = part_of_each_patient(made, split.parts)
    assert set(parts.values()) == set(PARTS)
    assert sum(len(split.rows(part)) for part in PARTS) == len(made)


def test_shares_are_shares_of_patients():
    made = uneven()
    parts = list(part_of_each_patient(made, split_by_patient(made).parts).values())

    assert [parts.count(part) / 200 for part in PARTS] == pytest.approx((0.7, 0.1, 0.2), abs=0.02)


def test_rows_are_the_rows_of_a_part():
    made = uneven()
    split = split_by_patient(made)

    assert (split.kind, split.seed, split.fractions) == ("patient", 0, (0.7, 0.1, 0.2))
    assert split.parts.shape == (len(made),)
    assert all(split.parts[row] == "val" for row in split.rows("val"))
    assert sorted(np.concatenate([split.rows(part) for part in PARTS])) == list(range(len(made)))
    with pytest.raises(ValueError, match="'valid'"):
        split.rows("valid")


def test_the_order_of_rows_and_of_labels_makes_no_difference():
    made = uneven()
    order = np.random.default_rng(1).permutation(len(made))
    shuffled = take(made, order)
    turned = dataclasses.replace(
        made, label_names=made.label_names[::-1], labels=made.labels[:, ::-1]
    )

    split = split_by_patient(made)

    assert split_by_patient(shuffled).hash == split.hash
    assert split_by_patient(turned).hash == split.hash
    np.testing.assert_array_equal(split_by_patient(shuffled).parts, split.parts[order])


def test_nothing_but_patients_labels_fractions_and_seed_makes_a_difference():
    made = uneven()
    n = len(made)
    other = dataclasses.replace(
        made,
        name="other",
        image_ids=tuple(f"other {i}" for i in range(n)),
        ages=np.arange(n, dtype=np.float32),
        sexes=("F",) * n,
        sources=("x",) * n,
    )

    np.testing.assert_array_equal(split_by_patient(other).parts, split_by_patient(made).parts)
    assert split_by_patient(made, seed=1).hash != split_by_patient(made).hash
    assert split_by_patient(made, fractions=(0.6, 0.2, 0.2)).hash != split_by_patient(made).hash


def test_unknown_labels_count_as_not_positive():
    made = uneven()
    zeros = dataclasses.replace(made, labels=np.nan_to_num(made.labels))

    assert split_by_patient(zeros).hash == split_by_patient(made).hash


def test_the_hash_is_what_its_definition_says():
    made = cohort([1] * 30)
    split = split_by_patient(made)

    pairs = sorted([name, part] for name, part in zip(made.image_ids, split.parts, strict=True))
    text = json.dumps(pairs, separators=(",", ":"))
    assert split.hash == hashlib.sha256(text.encode()).hexdigest()


def test_splits_never_change_with_a_release():
    """Frozen: another hash here would put other patients into everybody's test set."""
    made = dataclasses.replace(
        cohort([1, 2, 3] * 20),
        labels=(np.indices((120, 4)).sum(0) % (5, 7, 3, 2) == 0).astype(np.float32),
    )

    assert split_by_patient(made).hash[:16] == "c977cc4896d28b24"


@pytest.mark.parametrize("patients", [1, 2])
def test_too_few_patients_are_refused(patients):
    with pytest.raises(DataError, match=f"{patients} patients") as error:
        split_by_patient(cohort([5] * patients))
    assert "at least one patient in each" in str(error.value)


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.2, 0.2), (0.8, 0.2, 0.0), (1.2, -0.4, 0.2), (0.5, 0.5), (np.nan,) * 3]
)
def test_impossible_fractions_are_refused(fractions):
    for split in (split_by_patient, lambda *a, **k: split_official(a[0], ["test"] * 30, **k)):
        with pytest.raises(SettingsError, match="sum to 1"):
            split(cohort([1] * 30), fractions=fractions)


def test_thirds_and_a_little_rounding_are_fine():
    made = cohort([1] * 30)
    parts = split_by_patient(made, fractions=(1 / 3, 1 / 3, 0.3333331)).parts.tolist()

    assert [parts.count(part) for part in PARTS] == pytest.approx([10, 10, 10], abs=2)


def test_a_negative_seed_is_refused():
    with pytest.raises(SettingsError, match="negative"):
        split_by_patient(cohort([1] * 30), seed=-1)


def published(of: Cohort, test: int, word: str = "train_val") -> list[str]:
    """The first ``test`` patients are the published test set."""
    names = {f"p{i}" for i in range(test)}
    return ["test" if patient in names else word for patient in of.patient_ids]


def test_the_published_test_set_is_kept_and_val_is_cut_from_the_rest():
    made = uneven()
    given_parts = published(made, 50)

    split = split_official(made, given_parts)

    assert split.kind == "official"
    assert [part == "test" for part in split.parts] == [part == "test" for part in given_parts]
    parts = list(part_of_each_patient(made, split.parts).values())
    assert parts.count("val") == pytest.approx(150 * 0.1 / 0.8, abs=3)


def test_published_train_is_cut_as_train_val_is():
    made = uneven()

    one, other = (split_official(made, published(made, 50, w)) for w in ("train", "train_val"))
    assert one.hash == other.hash


def test_the_seed_of_an_official_split_moves_val_only():
    made = uneven()
    one, other = (split_official(made, published(made, 50), seed=seed) for seed in (0, 1))

    assert one.hash != other.hash
    np.testing.assert_array_equal(one.rows("test"), other.rows("test"))


def test_an_official_split_does_not_depend_on_order():
    made = uneven()
    order = np.random.default_rng(1).permutation(len(made))
    given_parts = published(made, 50)

    shuffled = split_official(take(made, order), [given_parts[row] for row in order])
    assert shuffled.hash == split_official(made, given_parts).hash


def test_a_published_val_set_is_kept():
    made = cohort([2] * 30)
    given_parts = ["test"] * 20 + ["val"] * 10 + ["train"] * 30

    assert split_official(made, given_parts).parts.tolist() == given_parts


def test_images_in_no_list_are_in_no_part():
    made = cohort([2] * 40)
    given_parts = ["test"] * 20 + [""] * 10 + ["train_val"] * 50
    given_parts[1] = ""  # of a patient whose other image is in the test list

    split = split_official(made, given_parts)
    assert np.flatnonzero(split.parts == "").tolist() == [1, *range(20, 30)]


@pytest.mark.parametrize("other", ["train_val", "train", "val"])
def test_a_published_patient_on_both_sides_is_an_error_that_names_some(other):
    made = cohort([2] * 30)
    given_parts = ["test"] * 21 + [other] * 19 + ["train"] * 20
    given_parts[3] = other

    with pytest.raises(DataError) as error:
        split_official(made, given_parts)
    text = str(error.value)
    assert "2 patients in two" in text
    side = other.removesuffix("_val")
    assert f"2 in {' and '.join(sorted([side, 'test'], key=PARTS.index))}" in text
    assert "p1 (" in text
    assert "p10 (" in text


def test_disjointness_is_checked_for_any_parts():
    made = cohort([2] * 3)

    check_disjoint(made, np.array(["train", "train", "val", "val", "", "test"]))
    with pytest.raises(DataError, match=r"p2 \(val and test\)"):
        check_disjoint(made, np.array(["train", "train", "val", "val", "val", "test"]))


@pytest.mark.parametrize(
    ("given_parts", "missing"),
    [(["test"] * 30, "train and val"), (["train_val"] * 30, "test"), ([""] * 30, "train and val")],
)
def test_an_official_split_without_a_side_is_refused(given_parts, missing):
    with pytest.raises(DataError, match=f"no images for {missing}"):
        split_official(cohort([1] * 30), given_parts)


@pytest.mark.parametrize("given_parts", [["test"] * 29, ["valid"] * 30, [None] * 30])
def test_a_plugins_broken_official_split_is_its_error(given_parts):
    with pytest.raises(PluginError, match="'made' returned a broken official split"):
        split_official(cohort([1] * 30), given_parts)


@dataclasses.dataclass(frozen=True)
class Made(Dataset):
    """A dataset whose lists are wherever it is told; it notes where that was."""

    name = "made"
    has_split: bool = True

    def load(self) -> Cohort:
        return cohort([1] * 60)

    def official_parts(self, cohort: Cohort, folder: Path | None) -> tuple[str, ...] | None:
        if not self.has_split:
            return None
        test = 20 if folder is None else int(folder.name)
        return tuple("test" if row < test else "train_val" for row in range(len(cohort)))


def test_a_split_is_made_as_the_option_says():
    made = Made().load()

    assert make_split(made, Made()).hash == split_by_patient(made).hash
    assert make_split(made, None, "patient", seed=3).hash == split_by_patient(made, seed=3).hash
    assert len(make_split(made, Made(), "official").rows("test")) == 20
    assert len(make_split(made, Made(), "official:/lists/25").rows("test")) == 25


@pytest.mark.parametrize("spec", ["random", "official:", "patient:x", "", "predictions"])
def test_an_unknown_split_is_explained(spec):
    with pytest.raises(SettingsError, match=r"official:DIR"):
        make_split(Made().load(), Made(), spec)


@pytest.mark.parametrize("dataset", [None, Made(has_split=False)])
def test_a_dataset_without_official_split_is_explained(dataset):
    with pytest.raises(DataError, match="no official split") as error:
        make_split(Made().load(), dataset, "official")
    assert "--split patient" in str(error.value)


def test_predicted_images_are_the_test_split_and_other_patients_train():
    made = cohort([3, 1, 2])
    split = split_predictions(made, ["image 1"])
    assert split.parts.tolist() == ["", "test", "", "train", "train", "train"]
    assert (split.kind, len(split.rows("val"))) == ("predictions", 0)


def test_predictions_of_every_patient_or_of_unknown_ones_are_no_split():
    made = cohort([2, 1])
    with pytest.raises(DataError, match="every patient"):
        split_predictions(made, ["image 0", "image 2"])
    unknown = dataclasses.replace(made, patient_ids=made.image_ids, patients_known=False)
    with pytest.raises(DataError, match="unknown"):
        split_predictions(unknown, ["image 0"])


def cohort_with_counts(cohort_of, counts, labels=None):
    """A cohort of so many images for each patient."""
    patients = tuple(f"p{n:03}" for n, count in enumerate(counts) for _ in range(count))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (len(patients), 3)) if labels is None else labels
    names = tuple(f"label {n:02}" for n in range(labels.shape[1]))
    return cohort_of(labels, patients=patients, no_finding=None, label_names=names)


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_with_most_of_the_images_is_named_and_stays_in_training(cohort_of, seed):
    cohort = cohort_with_counts(cohort_of, [500, *[1] * 30])
    split = split_by_patient(cohort, seed=seed)
    assert set(split.parts[:500].tolist()) == {"train"}
    assert 2 <= len(split.rows("val")) <= 4
    assert 5 <= len(split.rows("test")) <= 7
    ((patient, text),) = dominant_patients(cohort, DEFAULT_FRACTIONS).items()
    assert patient == "p000"
    assert "patient p000 has 500 of 530 images" in text


def test_a_list_may_put_such_a_patient_anywhere(cohort_of):
    cohort = cohort_with_counts(cohort_of, [500, *[1] * 30])
    parts = ["test"] * 500 + ["train"] * 20 + ["val"] * 10
    assert len(split_official(cohort, parts).rows("test")) == 500


@pytest.mark.parametrize("counts", [[1] * 5, [2, 3, 2, 3], [9, *[1] * 20], [184, *[4] * 2000]])
def test_usual_cohorts_have_no_such_patient(cohort_of, counts):
    assert dominant_patients(cohort_with_counts(cohort_of, counts), DEFAULT_FRACTIONS) == {}


def test_validation_gets_both_classes_where_stratification_gives_it_none(cohort_of):
    """As in CheXpert: most labels are unknown, and no label is frequent."""
    rng = np.random.default_rng(0)
    labels = np.full((60, 14), np.nan)
    for row in range(60):
        labels[row, row % 14] = 1
        labels[row, (row * 5 + 3) % 14] = rng.integers(0, 2)
    for seed in range(10):
        cohort = cohort_with_counts(cohort_of, [1] * 60, labels)
        split = split_by_patient(cohort, seed=seed)
        for part in ("train", "val"):
            known = cohort.labels[split.rows(part)]
            assert ((known == 1).any(axis=0) & (known == 0).any(axis=0)).any(), (seed, part)


def test_training_keeps_its_only_case(cohort_of):
    labels = np.zeros((24, 1))
    labels[3] = 1
    split = split_by_patient(cohort_with_counts(cohort_of, [1] * 24, labels))
    assert split.parts[3] == "train"
