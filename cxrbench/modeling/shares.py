"""Each device's share of a batch, and what its loss weighs in the whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def share(values: Mapping[str, np.ndarray], number: int, devices: int) -> dict[str, np.ndarray]:
    """The share of each array that device ``number`` of ``devices`` computes."""
    return {name: np.array_split(array, devices)[number] for name, array in values.items()}


def label_shares(labels: np.ndarray, devices: int) -> list[tuple[np.ndarray, float]]:
    """Each device's labels and the weight of their mean loss in that of the whole batch."""
    shares = np.array_split(labels, devices)
    known = np.array([np.count_nonzero(~np.isnan(share)) for share in shares])
    return list(zip(shares, (known / max(known.sum(), 1)).tolist(), strict=True))
