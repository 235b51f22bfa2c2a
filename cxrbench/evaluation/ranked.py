"""One label's images in the order of their scores: what depends on that order, for any weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.evaluation.measures import RANKING, SPECIFICITIES


@dataclass(frozen=True, eq=False)
class Ranked:
    """Three sparse matrices (rows, P) over patients; row k is the k-th score of a positive.

    ``positives`` counts each patient's positive images with that score; ``up_to`` the negatives
    that the row adds to those with this score or a lower one, ``below`` those that it adds to the
    ones with a lower score. One last row takes the negatives above all positives.
    """

    positives: Any
    below: Any
    up_to: Any

    measures = RANKING

    @property
    def rows(self) -> int:
        """How long the arrays are that `scores` makes for each column of weights."""
        return int(self.below.shape[0])

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """`RANKING` (4, B), the images of each patient counted by ``weights`` (P, B).

        The sensitivity at a specificity is the highest of all thresholds that reach it, without
        interpolation. NaN where a class is missing.
        """
        positives = self.positives @ weights
        below = np.cumsum(self.below @ weights, axis=0)
        up_to = np.cumsum(self.up_to @ weights, axis=0)
        count, negatives = positives.sum(axis=0), below[-1]
        # Mann and Whitney's ranks, doubled: a tie is a half. Sums of integers far below 2**53 are
        # exact, so the order of the images cannot matter.
        won = np.einsum("kb,kb->b", positives, below[:-1] + up_to[:-1])
        hits = np.cumsum(positives[::-1], axis=0)[::-1]
        called = hits + negatives - below[:-1]
        # Where nothing is called positive nothing is gained either.
        gained = np.einsum("kb,kb->b", positives, hits / np.maximum(called, 1.0))
        both = (count > 0) & (negatives > 0)
        return np.stack(
            [
                _share(won, 2 * count * negatives),
                _share(gained, count),
                *(
                    np.where(both, _share(_hits_at(level, hits, below), count), np.nan)
                    for level in SPECIFICITIES
                ),
            ]
        )


def _hits_at(specificity: float, hits: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The most positives (B,) that a threshold with this specificity finds."""
    # Shares such as 0.9 are no binary fractions: without the slack 9 of 10 would not be 90 %.
    needed = specificity * below[-1] * (1 - 1e-12)
    # Thresholds that reach it come last: `below` only grows.
    first = np.count_nonzero(below[:-1] < needed, axis=0)
    padded = np.concatenate([hits, np.zeros((1, hits.shape[1]))])
    found: np.ndarray = padded[first, np.arange(hits.shape[1])]
    return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def ranked(y_true: np.ndarray, y_score: np.ndarray, patient: np.ndarray, patients: int) -> Ranked:
    """Sort the images of one label, all (n,); entries of ``y_true`` but 1 and 0 are left out.

    ``patient`` are places from 0 to ``patients`` - 1.
    """
    positive, negative = y_true == 1, y_true == 0
    cuts, row = np.unique(y_score[positive], return_inverse=True)
    other = y_score[negative]
    up_to, below = (
        _count_matrix(
            np.searchsorted(cuts, other, side), patient[negative], len(cuts) + 1, patients
        )
        for side in ("left", "right")
    )
    return Ranked(
        positives=_count_matrix(row, patient[positive], len(cuts), patients),
        below=below,
        up_to=up_to,
    )


def _count_matrix(row: np.ndarray, patient: np.ndarray, rows: int, patients: int) -> Any:
    from scipy.sparse import csr_array

    # float64 and not a narrower type: with constant scores one entry counts many images.
    return csr_array((np.ones(len(row)), (row, patient)), shape=(rows, patients))
