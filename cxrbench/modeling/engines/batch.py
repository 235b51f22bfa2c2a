"""What all engines share: batches, what predicts them, and the word that an engine cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Batch = Mapping[str, np.ndarray] | np.ndarray
"""What a model is called with: arrays by the names of its inputs, or the only input."""

Predict = Callable[[Batch], np.ndarray]
"""From a batch to the model's output, float32."""


class Unable(Exception):
    """Why an engine cannot compute a network."""


def by_name(batch: Batch) -> Mapping[str, np.ndarray]:
    """The inputs by name; the only input has none."""
    return batch if isinstance(batch, Mapping) else {"": batch}


def last_line(text: str) -> str:
    """What a failing program said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"
