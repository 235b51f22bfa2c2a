"""Patient bootstrap of all measures: intervals, and replicates that are paired between rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.metrics.patients import SplitPatients, patient_table, split_patients
from cxrbench.metrics.resampling import board_resampler
from cxrbench.metrics.scorers import Images, measure, resample, scorers_of


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Scores of B resamples of the test patients, by measure: float64.

    ``macro`` and ``micro`` (B,), ``labels`` (L, B). Replicate b holds the same patients for every
    row of a board. ``redrawn`` draws were thrown away because a class was lost in them. Values are
    NaN where the measure is undefined. ``patients`` are the effective ones, for intervals.
    """

    macro: Mapping[str, np.ndarray]
    micro: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    macro_auroc_findings: np.ndarray
    redrawn: int
    patients: SplitPatients

    @property
    def macro_auroc(self) -> np.ndarray:
        """What boards are ranked by."""
        return self.macro["auroc"]

    @property
    def micro_auroc(self) -> np.ndarray:
        """Of all entries pooled."""
        return self.micro["auroc"]


def bootstrap(  # noqa: PLR0913 - every argument but the first four is a keyword
    y_true: np.ndarray,
    y_score: np.ndarray,
    patient_ids: Sequence[str] | np.ndarray,
    counted: np.ndarray,
    *,
    board_key: str,
    replicates: int = 1000,
    no_finding_index: int | None = None,
    thresholds: np.ndarray | None = None,
    probability: np.ndarray | None = None,
) -> Bootstrap:
    """Score resamples of the test patients, all images of a patient together.

    Each label is sorted once; a replicate is then three sparse products with its patients' counts
    and cumulative sums over the positives, and one product with its patients' sums.

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
    thresholds : (L,) NaN where a label has none. Without them only `RANKING` is measured.
    probability : (N, L) calibrated scores; by default ``y_score``.

    Raises
    ------
    DataError : shapes do not fit, or a score is NaN or infinite.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8 (resampling clusters).
    """
    table = patient_table(y_true, patient_ids)
    images = Images(
        y_true=y_true,
        y_score=y_score,
        probability=y_score if probability is None else probability,
        thresholds=np.full(y_true.shape[1], np.nan) if thresholds is None else thresholds,
        patient=table.index,
        patients=len(table),
    )
    scorers = scorers_of(images, ranking_alone=thresholds is None)
    whole = measure(scorers, np.ones((len(table), 1)))
    resampler = board_resampler(board_key, table, counted)
    (found,), redrawn = resample([scorers], resampler, replicates)
    findings = counted & (np.arange(len(counted)) != no_finding_index)
    return Bootstrap(
        macro=found.macro(counted, whole),
        micro=found.micro,
        labels=found.labels,
        macro_auroc_findings=found.macro(findings, whole)["auroc"],
        redrawn=redrawn,
        patients=split_patients(table, counted),
    )
