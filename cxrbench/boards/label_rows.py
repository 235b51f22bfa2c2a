"""The scores of each label in a row of a board, the means over its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.metrics.estimate import Estimate, read_estimate
from cxrbench.metrics.intervals import SeedScores
from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import EffectivePatients
from cxrbench.runs.selection import Seeds

LABEL_COLUMNS = ("recipe", "label", "counted", "positives", "known", "threshold", "board", "runs")
"""The columns of a label's row in CSV and its keys in JSON, before those of `MEASURES`."""


@dataclass(frozen=True)
class LabelRow:
    """One label's scores in one row, the mean over its seeds; ``runs`` says which row.

    ``scores`` are by measure, NaN where undefined; so is the ``threshold``.
    """

    recipe: str
    label: str
    counted: bool
    positives: int
    known: int
    threshold: float
    board: str
    runs: tuple[str, ...]
    scores: Mapping[str, Estimate]

    def columns(self) -> dict[str, Any]:
        """The values of `LABEL_COLUMNS`, then those of the measures."""
        columns = {name: getattr(self, name) for name in LABEL_COLUMNS}
        return {**columns, **flat_columns(self.scores, MEASURES)}


_SAME_IN_ALL_SEEDS = ("label", "counted", "positives", "known")


def label_rows(seeds: Seeds) -> Iterable[LabelRow]:
    """The row of each label of the board."""
    conditions, names = seeds[0].conditions, tuple(run.name for run in seeds)
    joined = len(seeds) > 1 and all(run.has_intervals for run in seeds)
    arrays = [f"label_{name}" for name in MEASURES]
    drawn = [run.details(arrays) for run in seeds] if joined else []
    for index, rows in enumerate(zip(*(run.labels for run in seeds), strict=True)):
        values = {name: np.array([number_or_nan(row[name]) for row in rows]) for name in MEASURES}
        if joined:
            patients = EffectivePatients.from_json(rows[0]["effective_patients"])
            scores = {}
            for name in MEASURES:
                replicates = np.stack([one[f"label_{name}"][index] for one in drawn])
                label = SeedScores(values[name], replicates)
                scores[name] = Estimate.of(name, label, patients.of(name))
        elif seeds[0].has_intervals and len(seeds) == 1:
            scores = {name: read_estimate(rows[0], name) for name in MEASURES}
        else:
            scores = {name: Estimate(float(np.mean(values[name]))) for name in MEASURES}
        yield LabelRow(
            recipe=conditions.recipe,
            board=conditions.board_key,
            runs=names,
            **{name: rows[0][name] for name in _SAME_IN_ALL_SEEDS},
            threshold=number_or_nan(mean_if_known([row["threshold"] for row in rows])),
            scores=scores,
        )


def flat_columns(measures: Mapping[str, Estimate], names: Iterable[str]) -> dict[str, float]:
    """Each measure's value and bounds as three columns."""
    return {
        column: value for name in names for column, value in measures[name].columns(name).items()
    }


def number_or_nan(value: float | None) -> float:
    """NaN for None."""
    return math.nan if value is None else value


def mean_if_known(values: Sequence[float | None]) -> float | None:
    """The mean; None when one is undefined, for the mean of the others is another quantity."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
