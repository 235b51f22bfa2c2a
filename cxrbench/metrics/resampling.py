"""The patients of each bootstrap replicate, which are the same for every row of a board."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from cxrbench.metrics.patients import PatientTable

MAX_DRAWS = 100
"""How often one replicate is drawn before it is taken with a class missing (and so undefined)."""


@dataclass(frozen=True, eq=False)
class Resampler:
    """Draws patients with replacement, again where a class would be lost.

    ``seed`` comes from the board's key alone. ``needed`` (P, K) bool has a column for each class
    that a replicate must hold, and tells which patients bring it.

    Every draw has its own generator, made from the seed, the replicate's number and the number of
    the attempt: a replicate is the same however many there are and however they are chunked.
    """

    seed: int
    needed: np.ndarray

    def draw(self, start: int, stop: int) -> tuple[np.ndarray, int]:
        """How often each patient is in replicates ``start`` to ``stop``, and the draws repeated.

        Returns (P, stop - start) float64 counts, and how many draws were thrown away.
        """
        patients = len(self.needed)
        weights = np.empty((patients, stop - start))
        missing = np.arange(start, stop)
        redrawn = 0
        for attempt in range(MAX_DRAWS):
            for replicate in missing:
                weights[:, replicate - start] = self._draw_one(int(replicate), attempt)
            held = self.needed.T.astype(np.float64) @ weights[:, missing - start] > 0
            missing = missing[~held.all(axis=0)]
            if not len(missing):
                break
            redrawn += len(missing)
        return weights, redrawn

    def _draw_one(self, replicate: int, attempt: int) -> np.ndarray:
        # Raw words and a remainder (its bias is below 1e-14 for any hospital), since NumPy keeps
        # the bit generators' streams between versions but not those of Generator's methods, and
        # rows that were scored years apart must hold the same patients.
        patients = len(self.needed)
        entropy = np.random.SeedSequence(self.seed, spawn_key=(replicate, attempt))
        words = np.random.PCG64(entropy).random_raw(patients)
        return np.bincount((words % np.uint64(patients)).astype(np.intp), minlength=patients)


def board_resampler(board_key: str, table: PatientTable, counted: np.ndarray) -> Resampler:
    """The resampler of a board: a pure function of its key, its patients and its labels.

    A replicate must hold a positive and a negative image of every counted label, and of all
    labels pooled where the split itself has both; never of what the scores are.
    """
    has, lacks = table.positives > 0, table.negatives > 0
    pooled = [has.any(axis=1), lacks.any(axis=1)]
    if not all(column.any() for column in pooled):
        pooled = []
    needed = np.column_stack([has[:, counted], lacks[:, counted], *pooled])
    return Resampler(seed=seed_of(board_key), needed=needed)


def seed_of(key: str) -> int:
    """The seed that a text stands for."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest(), "big")
