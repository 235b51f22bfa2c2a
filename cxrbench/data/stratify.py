"""Deal patients into splits so that each gets its share of every label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_UNIT = 10**9
"""Fractions become whole numbers of this many parts, so that no rounding decides a tie."""


def stratify(positive: np.ndarray, fractions: Sequence[float], seed: int) -> np.ndarray:
    """Deal instances into parts so that each part gets its fraction of each label's positives.

    The label with fewest undealt positives comes first (of several, the first column). Each of
    its instances goes to the part that needs this label most; of several, to the one that needs
    instances most; of several, to the one that its random number picks. Instances without
    positives come last and go where instances are needed most.

    The randomness is two raw 64-bit numbers of ``PCG64(seed)`` per instance: the first N give the
    order in which instances are taken, the next N break ties. The raw stream is what numpy keeps
    stable between releases (NEP 19); the methods of ``Generator`` are not.

    Parameters
    ----------
    positive : (N, L) bool. The result depends on the order of rows and columns: sort them.
    fractions : (K,) of N for each part; positive.
    seed : of the random order.

    Returns
    -------
    (N,) int: each instance's part, 0 to K - 1.
    """
    count = len(positive)
    draws = np.random.PCG64(seed).random_raw(2 * count)
    order = np.argsort(draws[:count], kind="stable")
    ties = draws[count:].tolist()
    weights = [round(fraction * _UNIT) for fraction in fractions]
    labels_of: list[list[int]] = [np.flatnonzero(row).tolist() for row in positive]
    members = [order[positive[order, label]].tolist() for label in range(positive.shape[1])]
    undealt = [len(rows) for rows in members]
    # Needs are kept in _UNIT per instance: needs[label][part], and size[part] for instances.
    needs = [[number * weight for weight in weights] for number in undealt]
    size = [count * weight for weight in weights]
    whole = sum(weights)
    parts = np.full(count, -1)

    def deal(row: int, part: int) -> None:
        parts[row] = part
        size[part] -= whole
        for label in labels_of[row]:
            needs[label][part] -= whole
            undealt[label] -= 1

    while label := _rarest(undealt):
        for row in members[label - 1]:
            if parts[row] < 0:
                deal(row, _neediest(needs[label - 1], size, ties[row]))
    for row in order.tolist():
        if parts[row] < 0:
            deal(row, _neediest(size, size, ties[row]))
    return parts


def _rarest(undealt: Sequence[int]) -> int:
    """1 + the label with fewest undealt positives; 0 when there is none left."""
    return min(
        ((number, label + 1) for label, number in enumerate(undealt) if number), default=(0, 0)
    )[1]


def _neediest(need: Sequence[int], size: Sequence[int], tie: int) -> int:
    most = max(need)
    best = [part for part, amount in enumerate(need) if amount == most]
    if len(best) > 1:
        largest = max(size[part] for part in best)
        best = [part for part in best if size[part] == largest]
    return best[tie % len(best)]


def with_usable_validation(
    parts: np.ndarray, positive: np.ndarray, negative: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Parts (N,) of patients whose second part, validation, has a label with both classes.

    For parts in which stratification left it without: the last training patients with and without
    the label that most have both of are moved there, if training keeps at least one of each.
    ``positive`` and ``negative`` (N, L) bool say which labels a patient has, and is known not to
    have. ``kept`` (N,) bool are patients that stay in training.
    """
    moved = parts.copy()
    pool = (parts == 0) & ~kept
    spare = np.minimum(positive[pool].sum(axis=0), negative[pool].sum(axis=0))
    label = int(np.argmax(spare)) if len(spare) else 0
    for has in (positive, negative):
        if len(spare) and spare[label] > 1 and not has[moved == 1, label].any():
            moved[np.flatnonzero(pool & (moved == 0) & has[:, label])[-1]] = 1
    return moved
