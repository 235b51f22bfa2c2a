"""Predictions: the same whatever the batch size, in the rows' order."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from small_cnn import SmallCNN, small_pictures

from cxrbench.builtin.concat import Concat
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.predict import keras_predictor, padded_batches, predict_logits, sigmoid


@pytest.fixture(scope="module")
def pictures() -> Inputs:
    return small_pictures()


@pytest.mark.parametrize(("count", "size"), [(7, 3), (6, 3), (2, 3), (1, 1), (0, 4)])
def test_batches_have_one_size_and_count_each_row_once(count, size):
    rows = np.arange(count) * 10
    batches = list(padded_batches(rows, size))
    assert {len(batch) for batch, _ in batches} <= {size}
    counted = [batch[:n].tolist() for batch, n in batches]
    assert list(chain.from_iterable(counted)) == rows.tolist()
    assert {row for batch, _ in batches for row in batch.tolist()} == set(rows.tolist())


def test_logits_are_the_networks_in_the_order_of_the_rows(pictures):
    statistics = {"age": feature_statistics(pictures.features["age"], np.arange(64))}
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    model = build_top(trunk, Concat(), statistics, labels=3, seed=0).whole()
    rows = np.array([90, 3, 3, 40, 7])
    direct = model(
        {
            "image": pictures.image[rows][..., None].astype(np.float32),
            "age": pictures.features["age"][rows],
        },
        training=False,
    )
    for batch_size in (1, 2, 5, 64):
        logits = predict_logits(keras_predictor(model, pictures), pictures, rows, batch_size)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, np.asarray(direct), rtol=1e-4, atol=1e-5)


def test_probabilities_do_not_overflow():
    logits = np.array([[-1e4, -90, 0, 1, 90, 1e4]], np.float32)
    y_score = sigmoid(logits)
    assert y_score.dtype == np.float32
    assert y_score[0, [0, 2, 5]].tolist() == [0, 0.5, 1]
    assert y_score[0, 3] == pytest.approx(np.e / (1 + np.e))
    assert (np.diff(y_score[0]) >= 0).all()
