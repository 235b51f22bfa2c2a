"""Probabilities for rows of the inputs, in batches of one fixed size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cxrbench.modeling.inputs import Inputs


def padded_batches(rows: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of exactly ``batch_size`` rows, and how many of them count.

    The last is filled up with its own first row: a compiled model sees one shape only.
    """
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        padding = np.full(batch_size - len(batch), batch[0], dtype=rows.dtype)
        yield np.concatenate([batch, padding]), len(batch)


def predict_logits(model: Any, inputs: Inputs, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Logits (len(rows), L) float32."""
    parts = []
    for batch, count in padded_batches(rows, batch_size):
        logits = np.asarray(model.predict_on_batch(inputs.gather(batch)), dtype=np.float32)
        parts.append(logits[:count])
    return np.concatenate(parts)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, same shape, float32, without overflow."""
    from scipy.special import expit

    return np.asarray(expit(logits), dtype=np.float32)
