"""Patient bootstrap of macro and micro AUROC: intervals, and replicates that pair row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.evaluation.auroc import check_scores
from cxrbench.evaluation.patients import patient_table
from cxrbench.evaluation.resampling import board_resampler

CHUNK_BYTES = 16 * 2**20
"""Size of the largest temporary array: it sets how many replicates are scored at a time."""


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """AUROCs of B resamples of the test patients, each (B,) float64.

    Replicate b holds the same patients for every row of a board. ``redrawn`` draws were thrown away
    because a class was lost in them. Values are NaN where the measure is undefined.
    """

    macro_auroc: np.ndarray
    macro_auroc_findings: np.ndarray
    micro_auroc: np.ndarray
    redrawn: int


@dataclass(frozen=True, eq=False)
class _Ranking:
    """One label's images in the order of their scores, as two sparse matrices (rows, P).

    Row k stands for the k-th distinct score among the positives. ``positives`` counts each
    patient's positive images with that score. ``steps`` counts what the row adds to (negatives
    below the score) + (negatives up to it), so that its cumulative sum is twice the rank that
    Mann and Whitney give, ties at a half. One last row takes the negatives above all positives.
    """

    positives: Any
    steps: Any

    @property
    def rows(self) -> int:
        return int(self.steps.shape[0])

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """AUROC (B,) with the images of each patient weighted by ``weights`` (P, B)."""
        positives = self.positives @ weights
        twice_rank = np.cumsum(self.steps @ weights, axis=0)
        pairs = positives.sum(axis=0) * twice_rank[-1]
        # Sums of integers far below 2**53: exact, so the order of the images cannot matter.
        won = np.einsum("kb,kb->b", positives, twice_rank[:-1])
        share = np.full(len(pairs), np.nan)
        np.divide(won, pairs, out=share, where=pairs > 0)
        return share


def _ranking(
    y_true: np.ndarray, y_score: np.ndarray, patient: np.ndarray, patients: int
) -> _Ranking:
    positive, negative = y_true == 1, y_true == 0
    cuts, row = np.unique(y_score[positive], return_inverse=True)
    below = y_score[negative]
    left, right = (
        _count_matrix(
            np.searchsorted(cuts, below, side), patient[negative], len(cuts) + 1, patients
        )
        for side in ("left", "right")
    )
    return _Ranking(
        positives=_count_matrix(row, patient[positive], len(cuts), patients),
        steps=left + right,
    )


def _count_matrix(row: np.ndarray, patient: np.ndarray, rows: int, patients: int) -> Any:
    from scipy.sparse import csr_array

    # float64 and not a narrower type: with constant scores one entry counts many images.
    return csr_array((np.ones(len(row)), (row, patient)), shape=(rows, patients))


def bootstrap(
    y_true: np.ndarray,
    y_score: np.ndarray,
    patient_ids: Sequence[str] | np.ndarray,
    counted: np.ndarray,
    *,
    board_key: str,
    replicates: int = 1000,
    no_finding_index: int | None = None,
) -> Bootstrap:
    """Score resamples of the test patients, all images of a patient together.

    Each label is sorted once; a replicate is then two sparse products with its patients' counts
    and a cumulative sum over the positives.

    Parameters
    ----------
    y_true : (N, L) float32: 1, 0, or NaN where unknown.
    y_score : (N, L), float32 or float64. The order of the rows does not matter.
    patient_ids : (N,) str.
    counted : (L,) bool of `counted_labels`: the labels in macro. No others are needed in a
        replicate; one that loses a class of theirs is drawn again, 100 times at most, and if it
        still lacks one its macro is NaN.
    board_key : what the rows of a board have in common; the only source of randomness.
    replicates : B.
    no_finding_index : the column left out of ``macro_auroc_findings``, None when all are findings.

    Raises
    ------
    DataError : shapes do not fit, or a score is NaN or infinite.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8 (resampling clusters).
    """
    check_scores(y_true, y_score)
    table = patient_table(y_true, patient_ids)
    resampler = board_resampler(board_key, table, counted)
    columns = np.flatnonzero(counted)
    rankings = [
        _ranking(y_true[:, column], y_score[:, column], table.index, len(table))
        for column in columns
    ]
    owners = np.repeat(table.index, y_true.shape[1])
    rankings.append(_ranking(y_true.ravel(), y_score.ravel(), owners, len(table)))

    aurocs = np.empty((len(rankings), replicates))
    redrawn = 0
    largest = max(len(table), *(ranking.rows for ranking in rankings))
    chunk = max(1, CHUNK_BYTES // (8 * largest))
    for start in range(0, replicates, chunk):
        stop = min(start + chunk, replicates)
        weights, thrown_away = resampler.draw(start, stop)
        aurocs[:, start:stop] = [ranking.auroc(weights) for ranking in rankings]
        redrawn += thrown_away
    return Bootstrap(
        macro_auroc=_mean_of_rows(aurocs[:-1]),
        macro_auroc_findings=_mean_of_rows(aurocs[:-1][columns != no_finding_index]),
        micro_auroc=aurocs[-1],
        redrawn=redrawn,
    )


def _mean_of_rows(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=0) if len(rows) else np.full(rows.shape[1], np.nan)


def percentile_interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central ``level`` of the replicates (B,), by their percentiles.

    (NaN, NaN) when any replicate is NaN: leaving those out would understate the spread.
    """
    if not len(replicates) or np.isnan(replicates).any():
        return float("nan"), float("nan")
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_over_seeds(replicates: Sequence[np.ndarray]) -> np.ndarray:
    """A row's replicates (B,): replicate b is the mean of its seeds' replicates b."""
    mean: np.ndarray = np.mean(np.stack(replicates), axis=0)
    return mean
