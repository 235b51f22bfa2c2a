"""A small network with every kind of input, and batches for it."""

from __future__ import annotations

import numpy as np
from small_cnn import SmallCNN, small_pictures

from cxrbench.builtin.concat import Concat
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics


def small_model(seed: int = 0, *, mean: float = 0.0):
    """Pixels and two feature vectors to probabilities."""
    vectors = {"wide-one": np.full((4, 9), mean, np.float32), **small_pictures().features}
    statistics = {
        name: feature_statistics(value, np.arange(len(value))) for name, value in vectors.items()
    }
    trunk = build_trunk(SmallCNN(), 32, None, seed)
    network = build_top(trunk, Concat(), statistics, labels=3, seed=seed)
    return network.whole(probabilities=True)


def batch(count: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "age": rng.normal(50, 20, (count, 4)).astype(np.float32),
        "image": rng.uniform(0, 255, (count, 32, 32, 1)).astype(np.float32),
        "wide-one": rng.normal(0, 1, (count, 9)).astype(np.float32),
    }
