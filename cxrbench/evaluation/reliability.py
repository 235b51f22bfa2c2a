"""Reliability of probabilities: how often what was given a probability turned out to be so."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cxrbench.evaluation.measures import BINS


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of equally many scores, from low to high; all (K,) float64, K at most the bins asked.

    ``predicted`` is the mean score in a bin and ``observed`` the share of positives, with ``low``
    and ``high``, the bounds of its interval; ``images`` and ``patients`` are how many it holds.
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    images: np.ndarray
    patients: np.ndarray


def reliability(
    y_true: np.ndarray, y_score: np.ndarray, patient: np.ndarray, *, bins: int = BINS
) -> Reliability:
    """Bin one label's scores at their quantiles and compare them with the truth.

    Bins that equal scores leave empty are left out. The interval is Wilson's with a bin's patients
    as its number of observations, as if each patient told one thing: cautious where patients have
    several images, and never without width, as a bootstrap is in a bin without positives.

    Parameters
    ----------
    y_true : (n,), 1 or 0; anything else (NaN) is unknown and left out.
    y_score : (n,) probabilities. The seeds of a row may follow each other.
    patient : (n,) int or str.

    References
    ----------
    Niculescu-Mizil & Caruana, Predicting good probabilities with supervised learning, ICML 2005.
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    known = (y_true == 1) | (y_true == 0)
    positive, score, patient = y_true[known] == 1, y_score[known], patient[known]
    if not len(score):
        return Reliability(*(np.empty(0) for _ in range(6)))
    inner = np.quantile(score, np.arange(1, bins) / bins)
    place = np.searchsorted(inner, score)
    images = np.bincount(place, minlength=bins)
    held = images > 0
    predicted = np.bincount(place, score, bins)[held] / images[held]
    observed = np.bincount(place, positive, bins)[held] / images[held]
    patients = np.array([len(np.unique(patient[place == k])) for k in np.flatnonzero(held)], float)
    low, high = wilson(observed, patients)
    return Reliability(predicted, observed, low, high, images[held].astype(float), patients)


def wilson(
    share: np.ndarray, count: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of shares (K,) among ``count`` (K,) independent observations each."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return centre - half, centre + half
