"""Linear heads: a logistic regression per label, for all parts together or for each part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxrbench.metrics.auroc import label_auroc, mean_defined

FOLDS = 5
REPEATS = 3
STRENGTHS = tuple(2.0**power for power in range(-1, 6))
# Used where no label has both classes often enough for a choice.
DEFAULT_STRENGTH = 8.0
# A label with fewer positive (or negative) training images says little about a strength.
_FEWEST = 10
# Choosing on more images than these takes longer and chooses the same.
_MOST_IMAGES = 5_000
_SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logits of inputs (n, D): ``inputs @ kernel + bias``.

    ``kernel`` (D, L) and ``bias`` (L,) float32 are for the inputs as they came, not standardised.
    ``left_out`` names the parts whose weights are 0, ``slope`` is the factor that undoes the
    shrinkage of the logits. With late fusion, ``weights`` are the factors of each part's logits,
    which undo their shrinkage too, and ``strength`` is that of the first part.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    slope: float
    left_out: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def choices(self) -> dict[str, Any]:
        """The result of each choice, as plain values."""
        late = {"weights": dict(self.weights)} if self.weights else {}
        choices = {"strength": self.strength, "slope": self.slope}
        return {**choices, "left_out": list(self.left_out), **late}


def fit_linear_head(
    parts: Mapping[str, np.ndarray],
    labels: np.ndarray,
    patients: Sequence[str],
    *,
    seed: int,
    late: bool = False,
) -> LinearHead:
    """Fit a logistic regression with an L2 penalty to each label.

    Columns are standardised and divided by the square root of the number of columns of their part,
    so that each part has the same weight whatever its width. Two choices are made by the mean
    AUROC in cross-validation by patients, for all labels together. The strength of the penalty is
    the largest whose score is within one standard error of the best. Then the parts without which
    the score is higher are left out, one after the other. A strong penalty ranks well, but its
    probabilities are all close to the prevalence: one factor for all weights, with the smallest
    cross-entropy of the held-out images, makes up for this. It changes no AUROC of a label.

    With ``late``, each part has a regression and a strength of its own. The factors of their
    logits, one for each part and not negative, have the smallest cross-entropy of the held-out
    images.

    Parameters
    ----------
    parts : the embedding and each feature vector of the training images, (n, D) each.
    labels : (n, L), 1, 0, or NaN where unknown.
    patients : (n,) whose images they are.
    seed : draws the folds.

    Notes
    -----
    Before that factor, a strength s gives the coefficients of scikit-learn's
    ``LogisticRegression(C=1/s)`` on the same columns. The rule of
    one standard error is that of Breiman et al., Classification and Regression Trees, 1984.
    """
    from threadpoolctl import threadpool_limits

    # On one thread the sums have one order on every machine, and matrices as thin as these gain
    # nothing from a second.
    with threadpool_limits(1, user_api="blas"):
        fit = _fit_late if late and len(parts) > 1 else _fit_parts
        return fit(parts, labels, np.asarray(patients, dtype=str), seed)


def _fit_parts(
    parts: Mapping[str, np.ndarray], labels: np.ndarray, patients: np.ndarray, seed: int
) -> LinearHead:
    columns, mean, scale = _columns(list(parts.values()))
    owner = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts.values()])
    folds = _draw_folds(patients, seed)
    strength, kept = _choose(columns, owner, labels, folds)
    used = np.isin(owner, kept)
    weights = np.zeros((len(used), labels.shape[1]))
    weights[used], _ = _fit(columns[:, used], labels, strength, tolerance=1e-10)
    slope = _slope(columns[:, used], labels, folds[:FOLDS], strength)
    intercepts = _intercepts(slope * columns @ weights, labels)
    kernel = slope * weights / scale[:, None]
    bias = intercepts - mean @ kernel
    left_out = tuple(name for number, name in enumerate(parts) if number not in kept)
    return LinearHead(kernel.astype(np.float32), bias.astype(np.float32), strength, slope, left_out)


def _fit_late(
    parts: Mapping[str, np.ndarray], labels: np.ndarray, patients: np.ndarray, seed: int
) -> LinearHead:
    folds = _draw_folds(patients, seed)
    single, held_out = [], []
    for part in parts.values():
        columns, mean, scale = _columns([part])
        strength, _ = _choose(columns, np.zeros(len(mean), dtype=int), labels, folds)
        weights, _ = _fit(columns, labels, strength, tolerance=1e-10)
        single.append((columns, mean, scale, strength, weights))
        held_out.append(_held_out(columns, labels, folds[:FOLDS], strength))
    factors = _factors([rises for rises, *_ in held_out], *held_out[0][1:])
    rises = sum(f * columns @ w for f, (columns, *_, w) in zip(factors, single, strict=True))
    kernels = [
        f * w / scale[:, None] for f, (_, _, scale, _, w) in zip(factors, single, strict=True)
    ]
    means = np.concatenate([mean for _, mean, *_ in single])
    kernel = np.concatenate(kernels)
    bias = _intercepts(np.asarray(rises), labels) - means @ kernel
    return LinearHead(
        kernel=kernel.astype(np.float32),
        bias=bias.astype(np.float32),
        strength=single[0][3],
        slope=1.0,
        left_out=tuple(name for name, f in zip(parts, factors, strict=True) if not f),
        weights=dict(zip(parts, factors.tolist(), strict=True)),
    )


def _factors(rises: Sequence[np.ndarray], levels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The factors (parts,), none negative, with the smallest cross-entropy of held-out images."""
    from scipy.optimize import minimize
    from scipy.special import expit

    known = ~np.isnan(truth)
    target = np.where(known, truth, 0.0)

    def loss(factors: np.ndarray) -> tuple[float, np.ndarray]:
        logits = levels + sum(f * r for f, r in zip(factors, rises, strict=True))
        residuals = np.where(known, expit(logits) - target, 0.0)
        losses = np.where(known, np.logaddexp(0.0, logits) - target * logits, 0.0)
        return losses.sum(), np.array([(residuals * r).sum() for r in rises])

    start, bounds = np.ones(len(rises)), [(0.0, None)] * len(rises)
    factors: np.ndarray = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return factors


def _columns(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The columns (n, D) float32 that are fitted, and the means and scales (D,) behind them."""
    means, scales = [], []
    for part in parts:
        deviation = part.std(axis=0, dtype=np.float64)
        deviation[deviation < _SMALLEST_DEVIATION] = 1.0
        means.append(part.mean(axis=0, dtype=np.float64))
        scales.append(deviation * np.sqrt(part.shape[1]))
    mean, scale = np.concatenate(means), np.concatenate(scales)
    columns = np.concatenate([np.asarray(part, dtype=np.float32) for part in parts], axis=1)
    columns -= mean.astype(np.float32)
    columns /= scale.astype(np.float32)
    return columns, mean, scale


Fold = tuple[np.ndarray, np.ndarray]
"""The rows to fit on, and the rows to score."""


def _draw_folds(patients: np.ndarray, seed: int) -> list[Fold]:
    """Folds of whole patients, several times; where there are many images, of some patients."""
    _, owner = np.unique(patients, return_inverse=True)
    folds = []
    for rng in np.random.default_rng(seed).spawn(REPEATS):
        order = rng.permutation(owner.max() + 1)[owner]
        rows = np.flatnonzero(order <= np.sort(order)[:_MOST_IMAGES][-1])
        for number in range(FOLDS):
            scored = order[rows] % FOLDS == number
            folds.append((rows[~scored], rows[scored]))
    return folds


def _choose(
    columns: np.ndarray, owner: np.ndarray, labels: np.ndarray, folds: Sequence[Fold]
) -> tuple[float, list[int]]:
    """The strength, and the numbers of the parts that stay."""
    kept = list(range(owner[-1] + 1))
    usable = ((labels == 1).sum(axis=0) >= _FEWEST) & ((labels == 0).sum(axis=0) >= _FEWEST)
    labels = labels[:, usable]
    scores = np.array([_scores(columns, labels, fold, STRENGTHS) for fold in folds]).T
    scores = scores[:, ~np.isnan(scores).any(axis=0)]
    if scores.shape[1] < 2:
        return DEFAULT_STRENGTH, kept
    strength = _strongest_within_error(scores)
    best = scores[STRENGTHS.index(strength)].mean()
    while len(kept) > 1:
        fewer = [[part for part in kept if part != gone] for gone in kept]
        means = [
            np.nanmean([_scores(columns[:, used], labels, fold, (strength,)) for fold in folds])
            for used in (np.isin(owner, parts) for parts in fewer)
        ]
        if max(means) <= best:
            break
        best, kept = max(means), fewer[int(np.argmax(means))]
    return strength, kept


def _scores(
    columns: np.ndarray, labels: np.ndarray, fold: Fold, strengths: Sequence[float]
) -> list[float]:
    """The mean AUROC over labels for each strength; NaN where no label has both classes."""
    train, held_out = fold
    if not len(train) or not len(held_out) or not labels.shape[1]:
        return [math.nan] * len(strengths)
    scores: list[float] = []
    start = None
    for strength in reversed(strengths):  # from strong to weak: each starts from the last
        start = _fit(columns[train], labels[train], strength, start=start, tolerance=1e-6)
        areas = label_auroc(labels[held_out], columns[held_out] @ start[0] + start[1])
        scores.insert(0, mean_defined(areas))
    return scores


def _strongest_within_error(scores: np.ndarray) -> float:
    """The strength chosen from scores (strengths, folds).

    The repeats do not count as more folds: they are on the same images.
    """
    means = scores.mean(axis=1)
    best = int(means.argmax())
    error = scores[best].std(ddof=1) / np.sqrt(min(FOLDS, scores.shape[1]))
    return max(s for s, mean in zip(STRENGTHS, means, strict=True) if mean >= means[best] - error)


def _held_out(
    columns: np.ndarray, labels: np.ndarray, folds: Sequence[Fold], strength: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each image when it is held out: its logits without intercepts, intercepts, and labels."""
    pairs = [(t, h) for t, h in folds if len(t) and len(h)]
    fits = [_fit(columns[t], labels[t], strength, tolerance=1e-6) for t, _ in pairs]
    if not pairs:
        return (np.empty((0, labels.shape[1])),) * 3
    rises = [columns[h] @ weights for (_, h), (weights, _) in zip(pairs, fits, strict=True)]
    levels = [np.tile(b, (len(h), 1)) for (_, h), (_, b) in zip(pairs, fits, strict=True)]
    truth = [labels[h] for _, h in pairs]
    return np.concatenate(rises), np.concatenate(levels), np.concatenate(truth)


def _slope(
    columns: np.ndarray, labels: np.ndarray, folds: Sequence[Fold], strength: float
) -> float:
    """The factor for all weights with the smallest cross-entropy of held-out images."""
    from scipy.optimize import minimize_scalar

    rises, levels, truth = _held_out(columns, labels, folds, strength)
    if not len(rises):
        return 1.0

    def loss(log_slope: float) -> float:
        logits = levels + math.exp(log_slope) * rises
        return float(np.nansum(np.logaddexp(0.0, logits) - truth * logits))

    # Up to the least shrinkage on the grid of strengths; a factor that gains nothing stays at 1.
    result = minimize_scalar(loss, bounds=(0.0, math.log(2 * strength + 2)), method="bounded")
    return math.exp(result.x) if result.fun < loss(0.0) else 1.0


def _intercepts(rises: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The intercepts (L,) of logits that are otherwise fixed, by Newton's method."""
    from scipy.special import expit

    known = ~np.isnan(labels)
    share = (np.nansum(labels, axis=0) + 0.5) / (known.sum(axis=0) + 1)
    intercepts = np.log(share / (1 - share))
    wanted = share * known.sum(axis=0)
    for _ in range(20):
        chances = np.where(known, expit(rises + intercepts), 0.0)
        steps = (wanted - chances.sum(axis=0)) / np.maximum((chances * (1 - chances)).sum(0), 1e-9)
        intercepts = intercepts + np.clip(steps, -1, 1)
    return intercepts


def _fit(
    columns: np.ndarray,
    labels: np.ndarray,
    strength: float,
    *,
    tolerance: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (D, L) and intercepts (L,), float64, that minimise loss and penalty.

    The loss of a label is the sum over the images on which it is known; intercepts are free.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    known = ~np.isnan(labels)
    truth = np.where(known, labels, 0.0)
    if start is None:
        share = (truth.sum(axis=0) + 0.5) / (known.sum(axis=0) + 1)
        start = np.zeros((columns.shape[1], labels.shape[1])), np.log(share / (1 - share))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercepts = _unpacked(flat, labels.shape[1])
        logits = (columns @ weights.astype(np.float32)).astype(np.float64) + intercepts
        losses = np.where(known, np.logaddexp(0.0, logits) - truth * logits, 0.0)
        residuals = np.where(known, expit(logits) - truth, 0.0)
        slope = columns.T @ residuals.astype(np.float32) + strength * weights
        gradient = np.concatenate([slope.ravel(), residuals.sum(axis=0)])
        return losses.sum() + strength / 2 * (weights**2).sum(), gradient

    result = minimize(
        objective,
        np.concatenate([start[0].ravel(), start[1]]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 1000, "ftol": tolerance, "gtol": 1e-4},
    )
    return _unpacked(result.x, labels.shape[1])


def _unpacked(flat: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    return flat[:-labels].reshape(-1, labels), flat[-labels:]
