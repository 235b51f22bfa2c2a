"""Who gets whose features: never his own, training images only, and the same for a seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrbench.errors import DataError
from cxrbench.modeling.augment import Augmentation, draw
from cxrbench.modeling.inputs import Inputs, feed, other_patients


@given(
    owners=st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda o: len(set(o)) > 1),
    in_train=st.randoms(use_true_random=False),
    seed=st.integers(0, 2**32),
)
def test_every_training_image_takes_from_another_training_patient(owners, in_train, seed):
    patients = np.array([f"p{owner}" for owner in owners])
    images = 2 * len(owners)
    rows = np.sort(np.array(in_train.sample(range(images), len(owners))))
    sources = other_patients(rows, patients.tolist(), images=images, seed=seed)
    outside = np.setdiff1d(np.arange(images), rows)
    np.testing.assert_array_equal(sources[outside], outside)
    assert set(sources[rows]) <= set(rows)
    owner_of = dict(zip(rows.tolist(), patients, strict=True))
    pairs = {(owner_of[row], owner_of[sources[row]]) for row in rows.tolist()}
    assert all(taking != giving for taking, giving in pairs)
    # One giver for each patient, and everyone gives once.
    assert Counter(taking for taking, _ in pairs) == Counter(giving for _, giving in pairs)
    assert len(pairs) == len(set(owners))
    for taking, giving in pairs:
        took = [sources[row] for row in rows.tolist() if owner_of[row] == taking]
        theirs = [row for row in rows.tolist() if owner_of[row] == giving]
        assert took == [theirs[k % len(theirs)] for k in range(len(took))]
    again = other_patients(rows, patients.tolist(), images=images, seed=seed)
    np.testing.assert_array_equal(sources, again)


def test_seeds_permute_differently_and_all_orders_occur():
    rows, patients = np.arange(3), ["a", "b", "c"]
    found = {tuple(other_patients(rows, patients, images=3, seed=s).tolist()) for s in range(40)}
    assert found == {(1, 2, 0), (2, 0, 1)}


def test_one_patient_cannot_be_permuted():
    with pytest.raises(DataError, match="at least two patients"):
        other_patients(np.arange(3), ["a", "a", "a"], images=5, seed=0)


def test_inputs_come_from_their_sources_and_labels_do_not():
    pixels = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    vectors = np.arange(6, dtype=np.float32)[:, None]
    labels = vectors + 100
    sources = np.array([1, 0, 3, 2, 4, 5])
    rows = np.array([2, 0, 5])
    for swapped in ("image", "grid"):
        inputs = Inputs(pixels, {"grid": vectors}, labels, sources={swapped: sources})
        ((batch, truth),) = feed(inputs, [rows])
        taken = {"image": rows, "grid": rows} | {swapped: sources[rows]}
        np.testing.assert_array_equal(batch["image"][:, 0, 0], taken["image"])
        np.testing.assert_array_equal(batch["grid"][:, 0], taken["grid"])
        np.testing.assert_array_equal(truth, labels[rows])


def test_an_image_is_augmented_as_the_row_that_takes_it():
    """With CLAHE too, so that an image which is taken twice varies as two do."""
    pixels = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    sources = np.roll(np.arange(40), 3)
    inputs = Inputs(pixels, {}, np.zeros((40, 1)), pixels + 100, {"image": sources})
    draws = draw(Augmentation(rotation=9, clahe=0.5), seed=0, epoch=0, images=40)
    rows = np.arange(5, 35)
    batch = inputs.gather(rows, draws)
    np.testing.assert_array_equal(batch["augmentation"], draws.parameters[rows])
    expected = sources[rows] + 100 * draws.clahe[rows]
    np.testing.assert_array_equal(batch["image"][:, 0, 0], expected)
