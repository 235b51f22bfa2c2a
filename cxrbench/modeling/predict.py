"""Predictions for rows of the inputs, in batches of one fixed size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from cxrbench.modeling.inputs import Inputs, feed, training_view
from cxrbench.modeling.parallel import predict_batch

Batch = Mapping[str, np.ndarray] | np.ndarray
"""A model's inputs: arrays by name, or the only input."""

Predict = Callable[[Batch], np.ndarray]
"""From a batch to the model's output."""


def by_name(batch: Batch) -> Mapping[str, np.ndarray]:
    """The inputs by name; an only input has the name ``""``."""
    return batch if isinstance(batch, Mapping) else {"": batch}


def padded_batches(rows: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield batches of exactly ``batch_size`` rows, and the number of rows that count.

    The last batch is filled up with its first row, so that a compiled model sees only one shape.
    """
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        padding = np.full(batch_size - len(batch), batch[0], dtype=rows.dtype)
        yield np.concatenate([batch, padding]), len(batch)


def keras_predictor(model: Any, inputs: Inputs) -> Predict:
    """Return a function that predicts a batch of these inputs with the model."""
    view = training_view(model, image_size=inputs.image_size, augmented=False)

    def predict(batch: Batch) -> np.ndarray:
        return predict_batch(view, by_name(batch))

    return predict


def predict_logits(
    predict: Predict, inputs: Inputs, rows: np.ndarray, batch_size: int
) -> np.ndarray:
    """Return logits (len(rows), L) float32."""
    parts = []
    batches = list(padded_batches(rows, batch_size))
    with closing(feed(inputs, (padded for padded, _ in batches))) as ready:
        for (batch, _), (_, count) in zip(ready, batches, strict=True):
            parts.append(np.asarray(predict(batch), dtype=np.float32)[:count])
    return np.concatenate(parts)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, same shape, float32, without overflow."""
    from scipy.special import expit

    return np.asarray(expit(logits), dtype=np.float32)
