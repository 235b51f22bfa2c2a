"""The names of all measures, in the order in which they are told."""

from __future__ import annotations

RANKING = ("auroc", "average_precision", "sensitivity_at_90", "sensitivity_at_95")
"""Of the order of the scores alone; the last two: at 90 and 95 % specificity."""

THRESHOLDED = ("accuracy", "precision", "recall", "specificity", "f1")
"""Of the decisions at each label's threshold. Recall is the sensitivity."""

CALIBRATION = ("brier", "ece")
"""Of the probabilities as such: mean squared and expected calibration error; lower is better."""

MEASURES = (*RANKING, *THRESHOLDED, *CALIBRATION)

LOWER_IS_BETTER = frozenset(CALIBRATION)

SPECIFICITIES = (0.90, 0.95)
"""Those at which `RANKING` tells the sensitivity."""

BINS = 10
"""Of the expected calibration error and of reliability diagrams: equally many images in each."""
