"""Which test images to look at: what a model found, what it missed, and its false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxrbench.evaluation.predictions import Predictions

Kind = Literal["found", "missed", "false alarm"]
KINDS: tuple[Kind, ...] = ("found", "missed", "false alarm")


@dataclass(frozen=True)
class Case:
    """One image and label; ``above`` is the share of the label's images with a lower score."""

    kind: Kind
    image_id: str
    patient: str
    label: str
    y_score: float
    above: float


def choose_cases(test: Predictions, number: int) -> tuple[Case, ...]:
    """The most extreme cases: at most ``number`` of each kind, no label or patient twice in one.

    Scores of a rare label are all low, so that images are compared by their place among those of
    the label. The labels are those that count, or all where none does.
    """
    columns = np.flatnonzero(test.counted) if test.counted.any() else range(len(test.label_names))
    candidates = [case for column in columns for case in _of_label(test, int(column))]
    chosen: list[Case] = []
    for kind in KINDS:
        ordered = sorted(
            (case for case in candidates if case.kind == kind),
            key=lambda case: (case.above if kind == "missed" else -case.above, case.image_id),
        )
        chosen += _different(ordered, number)
    return tuple(chosen)


def _of_label(test: Predictions, column: int) -> list[Case]:
    """Every positive as found and as missed, every negative as a false alarm."""
    truth, score = test.y_true[:, column], test.y_score[:, column]
    known = np.flatnonzero((truth == 1) | (truth == 0))
    above = np.searchsorted(np.sort(score[known]), score[known]) / max(len(known), 1)
    cases = []
    for row, share in zip(known.tolist(), above.tolist(), strict=True):
        kinds: tuple[Kind, ...] = ("found", "missed") if truth[row] == 1 else ("false alarm",)
        cases += [
            Case(
                kind=kind,
                image_id=str(test.image_ids[row]),
                patient=str(test.patients[row]),
                label=test.label_names[column],
                y_score=float(score[row]),
                above=share,
            )
            for kind in kinds
        ]
    return cases


def _different(ordered: list[Case], number: int) -> list[Case]:
    chosen: list[Case] = []
    for case in ordered:
        if len(chosen) == number:
            break
        if all(case.label != c.label and case.patient != c.patient for c in chosen):
            chosen.append(case)
    return chosen
