"""Calibration of probabilities on a validation split, and reliability diagrams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.metrics.auroc import check_scores
from cxrbench.metrics.measures import BINS

Method = Literal["none", "temperature", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "temperature", "isotonic")

_SMALLEST = 1e-7
_LOG_TEMPERATURES = (math.log(0.01), math.log(100.0))


@dataclass(frozen=True)
class LabelCalibration:
    """How one label's scores become probabilities: linear between the points of a table.

    ``temperature`` divides the logit, for the method of that name; ``x`` and ``y`` are the steps of
    an isotonic fit. All None or empty where the validation split has only one class of the label:
    its scores stay as they are.
    """

    temperature: float | None = None
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def apply(self, y_score: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n,) float64 of scores (n,)."""
        y_score = y_score.astype(np.float64)
        if self.temperature is not None:
            return _sigmoid(_logit(y_score) / self.temperature)
        return np.interp(y_score, self.x, self.y) if self.x else y_score


@dataclass(frozen=True)
class Calibration:
    """The method and what was fitted for each label, in the order of the labels."""

    method: Method
    labels: tuple[LabelCalibration, ...] = ()

    def apply(self, y_score: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, L) float64 of scores (N, L); with ``none``, the scores."""
        if self.method == "none":
            return y_score
        columns = zip(self.labels, y_score.T, strict=True)
        return np.column_stack([label.apply(scores) for label, scores in columns])

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `from_json` reads them."""
        labels = [
            {"temperature": label.temperature, "x": list(label.x), "y": list(label.y)}
            for label in self.labels
        ]
        return {"method": self.method, "labels": labels}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Calibration:
        """The calibration that ``to_json`` gave."""
        labels = tuple(
            LabelCalibration(row["temperature"], tuple(row["x"]), tuple(row["y"]))
            for row in values["labels"]
        )
        return cls(values["method"], labels)


def check_method(text: str) -> Method:
    """The calibration of this name; raise `SettingsError` for any other."""
    for method in METHODS:
        if text == method:
            return method
    raise SettingsError(
        f"--calibration cannot be {text!r}", expected=", ".join(METHODS), found=repr(text)
    )


def calibrate(method: Method, y_true: np.ndarray, y_score: np.ndarray) -> Calibration:
    """Fit each label on the validation split.

    ``temperature`` finds the one number that the logits are divided by with the smallest log loss;
    it keeps the order of a label's images. ``isotonic`` is scikit-learn's monotone regression: more
    flexible, needs more images, and makes ties.

    Parameters
    ----------
    y_true, y_score : (N, L) of the validation split; NaN in ``y_true`` is unknown and left out.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017 (temperature scaling). Zadrozny
    & Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD 2002
    (isotonic regression).
    """
    check_scores(y_true, y_score)
    if method == "none":
        return Calibration(method)
    fit = _temperature if method == "temperature" else _isotonic
    labels = []
    for truth, score in zip(y_true.T, y_score.T, strict=True):
        known = (truth == 1) | (truth == 0)
        classes = np.unique(truth[known])
        labels.append(
            fit(truth[known], score[known].astype(np.float64))
            if len(classes) == 2
            else LabelCalibration()
        )
    return Calibration(method, tuple(labels))


def uncalibrated(calibration: Calibration, label_names: Sequence[str]) -> tuple[str, ...]:
    """The labels whose scores stay as they are: the validation split lacks one of their classes."""
    pairs = zip(calibration.labels, label_names, strict=True) if calibration.labels else ()
    return tuple(name for label, name in pairs if label == LabelCalibration())


def _temperature(y_true: np.ndarray, y_score: np.ndarray) -> LabelCalibration:
    from scipy.optimize import minimize_scalar

    logit = _logit(y_score)

    def log_loss(log_temperature: float) -> float:
        margin = np.where(y_true == 1, logit, -logit) / math.exp(log_temperature)
        return float(np.logaddexp(0, -margin).mean())

    found = minimize_scalar(log_loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return LabelCalibration(temperature=math.exp(float(found.x)))


def _isotonic(y_true: np.ndarray, y_score: np.ndarray) -> LabelCalibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(y_score, y_true)
    return LabelCalibration(
        x=tuple(fitted.X_thresholds_.tolist()), y=tuple(fitted.y_thresholds_.tolist())
    )


def _logit(y_score: np.ndarray) -> np.ndarray:
    # Scores of exactly 0 and 1 would be infinite, and stay there at any temperature.
    inside = np.clip(y_score, _SMALLEST, 1 - _SMALLEST)
    logit: np.ndarray = np.log(inside) - np.log1p(-inside)
    return logit


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    probability: np.ndarray = expit(logit)
    return probability


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of equally many scores, from low to high; all (K,) float64 with at most K bins.

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
