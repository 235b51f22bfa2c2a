"""Patient bootstrap of AUROC and average precision: intervals, and replicates that pair by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.evaluation.auroc import check_scores
from cxrbench.evaluation.patients import patient_table
from cxrbench.evaluation.resampling import board_resampler

CHUNK_BYTES = 8 * 2**20
"""Size of the largest temporary array: it sets how many replicates are scored at a time."""


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Scores of B resamples of the test patients; macro and micro (B,), labels (L, B), float64.

    Replicate b holds the same patients for every row of a board. ``redrawn`` draws were thrown away
    because a class was lost in them. Values are NaN where the measure is undefined.
    """

    macro_auroc: np.ndarray
    macro_auroc_findings: np.ndarray
    micro_auroc: np.ndarray
    macro_average_precision: np.ndarray
    micro_average_precision: np.ndarray
    label_auroc: np.ndarray
    label_average_precision: np.ndarray
    redrawn: int


@dataclass(frozen=True, eq=False)
class _Ranking:
    """One label's images in the order of their scores, as three sparse matrices (rows, P).

    Row k stands for the k-th distinct score among the positives. ``positives`` counts each
    patient's positive images with that score; ``up_to`` the negatives that the row adds to those
    with this score or a lower one, ``below`` those that it adds to the ones with a lower score. One
    last row takes the negatives above all positives.
    """

    positives: Any
    below: Any
    up_to: Any

    @property
    def rows(self) -> int:
        return int(self.below.shape[0])

    def scores(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision (B,), the images of each patient counted by (P, B)."""
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
        return _share(won, 2 * count * negatives), _share(gained, count)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def _ranking(
    y_true: np.ndarray, y_score: np.ndarray, patient: np.ndarray, patients: int
) -> _Ranking:
    positive, negative = y_true == 1, y_true == 0
    cuts, row = np.unique(y_score[positive], return_inverse=True)
    other = y_score[negative]
    up_to, below = (
        _count_matrix(
            np.searchsorted(cuts, other, side), patient[negative], len(cuts) + 1, patients
        )
        for side in ("left", "right")
    )
    return _Ranking(
        positives=_count_matrix(row, patient[positive], len(cuts), patients),
        below=below,
        up_to=up_to,
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

    Each label is sorted once; a replicate is then three sparse products with its patients' counts
    and cumulative sums over the positives.

    Parameters
    ----------
    y_true : (N, L) float32: 1, 0, or NaN where unknown.
    y_score : (N, L), float32 or float64. The order of the rows does not matter.
    patient_ids : (N,) str.
    counted : (L,) bool of `counted_labels`: the labels in macro. No others are needed in a
        replicate; one that loses a class of theirs is drawn again, 100 times at most, and if it
        still lacks one its macro is NaN. Other labels are NaN in replicates that lose a class.
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
    rankings = [
        _ranking(truth, score, table.index, len(table))
        for truth, score in zip(y_true.T, y_score.T, strict=True)
    ]
    owners = np.repeat(table.index, y_true.shape[1])
    rankings.append(_ranking(y_true.ravel(), y_score.ravel(), owners, len(table)))

    found = np.empty((len(rankings), 2, replicates))
    redrawn = 0
    largest = max(len(table), *(ranking.rows for ranking in rankings))
    chunk = max(1, CHUNK_BYTES // (8 * largest))
    for start in range(0, replicates, chunk):
        stop = min(start + chunk, replicates)
        weights, thrown_away = resampler.draw(start, stop)
        found[:, :, start:stop] = [ranking.scores(weights) for ranking in rankings]
        redrawn += thrown_away
    labels, findings = found[:-1], counted & (np.arange(len(counted)) != no_finding_index)
    return Bootstrap(
        macro_auroc=_mean_of_rows(labels[counted, 0]),
        macro_auroc_findings=_mean_of_rows(labels[findings, 0]),
        micro_auroc=found[-1, 0],
        macro_average_precision=_mean_of_rows(labels[counted, 1]),
        micro_average_precision=found[-1, 1],
        label_auroc=labels[:, 0],
        label_average_precision=labels[:, 1],
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
