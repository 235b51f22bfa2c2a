"""All measures of a set of images, for any weights of their patients: 1 each, or a resample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from cxrbench.metrics.auroc import check_scores
from cxrbench.metrics.measures import RANKING, Ranked, Summed, ranked, summed
from cxrbench.metrics.resampling import Resampler
from cxrbench.metrics.thresholds import apply_thresholds

CHUNK_BYTES = 4 * 2**20
"""Size of a thread's largest temporary array: it sets how many replicates it scores at a time."""

MOST_THREADS = 4
"""More would wait for memory, and hold more of it."""

Scorer = Ranked | Summed


@dataclass(frozen=True, eq=False)
class Images:
    """What is scored.

    ``y_true`` (N, L) is 1, 0, or NaN where unknown. ``y_score`` (N, L) is what ranks the images,
    ``probability`` (N, L) what is judged as a probability: the same, unless it was calibrated.
    ``thresholds`` (L,) are NaN where a label has none. ``patient`` (N,) are places from 0 to
    ``patients`` - 1.
    """

    y_true: np.ndarray
    y_score: np.ndarray
    probability: np.ndarray
    thresholds: np.ndarray
    patient: np.ndarray
    patients: int

    def subset(self, rows: np.ndarray) -> Images:
        """The images in ``rows``; places of patients stay as they are."""
        return Images(
            self.y_true[rows],
            self.y_score[rows],
            self.probability[rows],
            self.thresholds,
            self.patient[rows],
            self.patients,
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """Measures by name: of each label (L, B), and pooled over all entries (B,)."""

    labels: Mapping[str, np.ndarray]
    micro: Mapping[str, np.ndarray]

    def macro(self, counted: np.ndarray, whole: Measured) -> dict[str, np.ndarray]:
        """Unweighted means (B,) over the ``counted`` labels (L,).

        Those that lack a measure on the ``whole`` split are left out of its mean, there and here.
        None is left out of a mean of ranking measures, which need both classes and nothing else: a
        mean without one would be another quantity.
        """
        means = {}
        for name, values in self.labels.items():
            defined = np.isfinite(whole.labels[name][:, 0]) | (name in RANKING)
            means[name] = _mean_of_rows(values[counted & defined])
        return means


def _mean_of_rows(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=0) if len(rows) else np.full(rows.shape[1], np.nan)


def scorers_of(images: Images, *, ranking_alone: bool = False) -> tuple[tuple[Scorer, ...], ...]:
    """The scorers of each label and, last, of all entries pooled.

    Raises
    ------
    DataError : shapes do not fit, or a score is NaN or infinite.
    """
    check_scores(images.y_true, images.y_score)
    patients = images.patients
    y_pred = apply_thresholds(images.y_score, images.thresholds)
    whole = (images.y_true, images.y_score, images.probability, y_pred)
    columns = [
        ([values[:, label] for values in whole], images.patient)
        for label in range(images.y_true.shape[1])
    ]
    columns.append(
        ([values.ravel() for values in whole], np.repeat(images.patient, images.y_true.shape[1]))
    )
    made: list[tuple[Scorer, ...]] = []
    for (truth, score, probability, pred), owner in columns:
        of_order = ranked(truth, score, owner, patients)
        if ranking_alone:
            made.append((of_order,))
        else:
            made.append((of_order, summed(truth, probability, pred, owner, patients)))
    return tuple(made)


def measure(scorers: Sequence[Sequence[Scorer]], weights: np.ndarray) -> Measured:
    """Every measure with the patients weighted by ``weights`` (P, B)."""
    found = [np.concatenate([one.scores(weights) for one in group]) for group in scorers]
    return _by_name(scorers, np.stack(found))


def _by_name(scorers: Sequence[Sequence[Scorer]], found: np.ndarray) -> Measured:
    names = [name for one in scorers[0] for name in one.measures]
    return Measured(
        labels={name: found[:-1, place] for place, name in enumerate(names)},
        micro={name: found[-1, place] for place, name in enumerate(names)},
    )


def resample(
    sets: Sequence[Sequence[Sequence[Scorer]]], resampler: Resampler, replicates: int
) -> tuple[tuple[Measured, ...], int]:
    """Measure several sets of images on the same resamples of their patients.

    Chunks of replicates are shared out among the cores; the result does not depend on how.

    Returns the measures of each set, and how many draws were thrown away.
    """
    groups = [group for scorers in sets for group in scorers]
    names = sum(len(one.measures) for one in groups[0])
    found = np.empty((len(groups), names, replicates))
    largest = max(len(resampler.needed), *(one.rows for group in groups for one in group))
    chunk = max(1, CHUNK_BYTES // (8 * largest))

    def score(start: int) -> int:
        stop = min(start + chunk, replicates)
        weights, thrown_away = resampler.draw(start, stop)
        for place, group in enumerate(groups):
            scores = [one.scores(weights) for one in group]
            found[place, :, start:stop] = np.concatenate(scores)
        return thrown_away

    cores = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    # Threads of its own would only get into the way of these: the products are small.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores) as pool:
        redrawn = sum(pool.map(score, range(0, replicates, chunk)))
    ends = np.cumsum([len(scorers) for scorers in sets])
    parts = np.split(found, ends[:-1])
    return tuple(map(_by_name, sets, parts)), redrawn
