"""Compute all scores of a run from its saved predictions, with the replicates for intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.metrics.auroc import clustered_aurocs
from cxrbench.metrics.bootstrap import Bootstrap, bootstrap
from cxrbench.metrics.calibration import Calibration, Method, calibrate, check_method
from cxrbench.metrics.patients import patient_table
from cxrbench.metrics.scorers import Images
from cxrbench.metrics.scores import Scores, score
from cxrbench.metrics.thresholds import YOUDEN, Rule, choose_thresholds, parse_rule
from cxrbench.runs.predictions import Predictions
from cxrbench.runs.subgroups import Subgroups, subgroups

REPLICATES = 1000


@dataclass(frozen=True)
class Scoring:
    """How predictions are scored: what is fitted on the validation split.

    ``calibration`` shapes Brier score, calibration error and nothing else; AUROC, average precision
    and decisions are of the scores as the model gave them.
    """

    calibration: Method = "none"
    thresholds: Rule = YOUDEN

    def to_json(self) -> dict[str, str]:
        """Plain values, as `scoring_of` reads them."""
        return {"calibration": self.calibration, "thresholds": self.thresholds.text}


UNCALIBRATED = Scoring()
"""The default: no calibration, thresholds by Youden's index."""


def scoring_of(calibration: str = "none", thresholds: str = YOUDEN.text) -> Scoring:
    """The scoring that the texts of ``--calibration`` and ``--thresholds`` name.

    Raises
    ------
    SettingsError : one of them names nothing.
    """
    return Scoring(check_method(calibration), parse_rule(thresholds))


@dataclass(frozen=True, eq=False)
class Assessment:
    """All scores of a test split.

    ``auroc_errors`` (L,) are standard errors in closed form, a check of the bootstrap.
    """

    scores: Scores
    resampled: Bootstrap
    calibration: Calibration
    auroc_errors: np.ndarray
    subgroups: tuple[Subgroups, ...]


def assess(
    test: Predictions,
    val: Predictions,
    *,
    board_key: str,
    scoring: Scoring,
    replicates: int = REPLICATES,
) -> Assessment:
    """Score the predictions of a test split, with what the validation split chooses.

    ``val`` may have no images: then there are no thresholds, and what needs them is undefined.

    Raises
    ------
    DataError : a score is NaN or infinite.
    SettingsError : a calibration was asked for, and there is nothing to fit it on.
    """
    if not len(val) and scoring.calibration != "none":
        raise SettingsError(
            "calibration needs validation predictions",
            expected="predictions for a validation split",
            found="none",
            fix="leave --calibration out, or add predictions for the validation images",
        )
    thresholds = (
        choose_thresholds(val.y_true, val.y_score, scoring.thresholds)
        if len(val)
        else np.full(len(test.label_names), np.nan)
    )
    calibration = calibrate(scoring.calibration, val.y_true, val.y_score)
    probability = calibration.apply(test.y_score)
    scores = score(
        test.y_true,
        test.y_score,
        test.patients,
        label_names=test.label_names,
        no_finding=test.no_finding,
        thresholds=thresholds,
        probability=probability,
    )
    names = test.label_names
    resampled = bootstrap(
        test.y_true,
        test.y_score,
        test.patients,
        test.counted,
        board_key=board_key,
        replicates=replicates,
        no_finding_index=names.index(test.no_finding) if test.no_finding in names else None,
        thresholds=thresholds,
        probability=probability,
    )
    table = patient_table(test.y_true, test.patients)
    images = Images(
        test.y_true, test.y_score, probability, thresholds, table.index, patients=len(table)
    )
    return Assessment(
        scores=scores,
        resampled=resampled,
        calibration=calibration,
        auroc_errors=_auroc_errors(test),
        subgroups=subgroups(test, images, board_key=board_key, replicates=replicates),
    )


def _auroc_errors(test: Predictions) -> np.ndarray:
    columns = zip(test.y_true.T, test.y_score.T, strict=True)
    areas = [clustered_aurocs(truth, score[None], test.patients) for truth, score in columns]
    # Rounding can take the variance of constant scores below zero.
    return np.sqrt([max(one.covariance[0, 0], 0.0) for one in areas])
