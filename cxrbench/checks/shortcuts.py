"""How well file properties alone predict the labels: cross-validated AUROC, by patient.

Where an image came from can go together with what it shows. A model that sees traces of it (noise
of a codec, the original size) then scores without medicine. DeGrave, Janizek, Lee: AI for
radiographic COVID-19 detection selects shortcuts over signal. Nature Machine Intelligence 3, 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from cxrbench.checks.finding import Finding, Item, finding
from cxrbench.checks.images import ImageScan
from cxrbench.interfaces import Cohort, Display
from cxrbench.metrics.patients import counted_labels, patient_table

FOLDS = 5
MOST_IMAGES = 20_000
"""Of randomly chosen patients: enough that chance is below 0.01, and seconds instead of minutes."""

NOTEWORTHY = 0.55
"""Macro AUROC from which a shortcut is reported, if it also exceeds chance.

With nih-mini's labels dealt anew at random, twenty times, no set of features came above 0.54.
"""

_ERRORS_AWAY = 3

_MOST_KINDS = 30  # of a column of texts; rarer ones are one kind


@dataclass(frozen=True)
class Shortcut:
    """Mean macro AUROC over the folds of one set of features, and AUROC for each label.

    ``chance`` is the standard deviation of ``macro`` around 0.5 for useless features;
    both are None where no label has enough patients. ``of_files`` says that the features are of
    the files and not of the patients.
    """

    features: str
    of_files: bool
    macro: float | None
    chance: float | None
    per_label: Mapping[str, float]


def find_shortcuts(cohort: Cohort, films: ImageScan, display: Display) -> tuple[Shortcut, ...]:
    """Logistic regression on each set of features, by five folds over patients.

    A label counts in a fold when 5 of its test patients have it and 5 have not, as on a board.
    Nothing is found where no image can be used.
    """
    from threadpoolctl import threadpool_limits

    places = _few_enough(cohort, films)
    if not len(places):
        return ()
    rows = films.rows[places]
    sets = _feature_sets(cohort, films, places)
    labels, patients = cohort.labels[rows], np.array(cohort.patient_ids)[rows]
    folds = _folds(labels, patients)
    shortcuts = []
    # These matrices are narrow: threads would spend more time on waiting for each other.
    with threadpool_limits(1), display.task("looking for shortcuts", len(sets)) as advance:
        for name, (of_files, columns) in sets.items():
            scores = _scores(columns, labels, folds)
            chance = _chance(labels, patients, scores)
            shortcuts.append(_shortcut(name, of_files, scores, chance, cohort.label_names))
            advance(detail=name)
    return tuple(shortcuts)


def check_shortcuts(shortcuts: Sequence[Shortcut]) -> tuple[Finding, ...]:
    """The file properties that predict labels at least as well as `NOTEWORTHY`."""
    items = [
        Item((), f"{one.features}: macro AUROC {one.macro:.3f}")
        for one in shortcuts
        if one.of_files and _is_noteworthy(one)
    ]
    return finding("shortcut", items)


def _is_noteworthy(shortcut: Shortcut) -> bool:
    if shortcut.macro is None or shortcut.chance is None:
        return False
    return shortcut.macro >= max(NOTEWORTHY, 0.5 + _ERRORS_AWAY * shortcut.chance)


def _few_enough(cohort: Cohort, films: ImageScan) -> np.ndarray:
    """Places of usable images, of as many patients as `MOST_IMAGES` allow."""
    places = np.flatnonzero(films.usable)
    if len(places) <= MOST_IMAGES:
        return places
    _, owner = np.unique(np.array(cohort.patient_ids)[films.rows[places]], return_inverse=True)
    order = np.random.default_rng(0).permutation(owner.max() + 1)[owner]
    return np.sort(places[np.argsort(order, kind="stable")[:MOST_IMAGES]])


def _feature_sets(
    cohort: Cohort, films: ImageScan, places: np.ndarray
) -> dict[str, tuple[bool, np.ndarray]]:
    rows = films.rows[places].tolist()
    files = [films.files[place] for place in places.tolist()]
    sides = np.array([(file.width, file.height) for file in files], float).reshape(-1, 2)
    size = np.array([file.size for file in files], float)[:, None]
    kind = _one_hot([file.kind for file in files])
    folder = _one_hot([_folder(cohort, films, place) for place in places.tolist()])
    dimensions = np.column_stack([sides, sides[:, :1] / np.maximum(sides[:, 1:], 1)])
    area = np.maximum(sides.prod(axis=1, keepdims=True), 1)
    weight = np.column_stack([np.log1p(size), size / area])
    known = ~np.isnan(cohort.ages[rows])
    age = np.column_stack([np.where(known, cohort.ages[rows], 0), known])
    person = [_one_hot([column[row] for row in rows]) for column in (cohort.sexes, cohort.views)]
    return {
        "file type": (True, kind),
        "dimensions": (True, dimensions),
        "file size": (True, weight),
        "folder": (True, folder),
        "all of these": (True, np.column_stack([kind, dimensions, weight, folder])),
        "age, sex and view": (False, np.column_stack([age, *person])),
    }


def _folder(cohort: Cohort, films: ImageScan, place: int) -> str:
    """A dataset that decodes by itself has sources of its own kind, which may tell anything."""
    if films.files[place].is_array:
        return ""
    return str(PurePath(cohort.sources[films.rows[place]]).parent)


def _one_hot(texts: Sequence[str]) -> np.ndarray:
    _, codes, counts = np.unique(np.array(texts), return_inverse=True, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_MOST_KINDS]
    return (codes[:, None] == common).astype(float)


def _folds(
    labels: np.ndarray, patients: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows to fit on, rows to score, and which labels count there."""
    from sklearn.model_selection import GroupKFold

    if len(np.unique(patients)) < FOLDS:
        return []
    dealt = GroupKFold(FOLDS, shuffle=True, random_state=0).split(labels, groups=patients)
    return [(fit, test, counted_labels(labels[test], patients[test])) for fit, test in dealt]


def _scores(
    columns: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> np.ndarray:
    """AUROC (folds, L) float64; NaN where a label does not count."""
    scores = np.full((len(folds), labels.shape[1]), np.nan)
    for fold, (fit, test, counted) in enumerate(folds):
        mean, spread = columns[fit].mean(axis=0), columns[fit].std(axis=0)
        varies = spread > 0
        scaled = (columns[:, varies] - mean[varies]) / spread[varies]
        for label in np.flatnonzero(counted).tolist():
            scores[fold, label] = _auroc(scaled, labels[:, label], fit, test)
    return scores


def _auroc(columns: np.ndarray, labels: np.ndarray, fit: np.ndarray, test: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    fit, test = fit[~np.isnan(labels[fit])], test[~np.isnan(labels[test])]
    if columns.shape[1] == 0:
        return 0.5  # nothing varies: all images get the same score
    if len(np.unique(labels[fit])) < 2:
        return float("nan")
    model = LogisticRegression(solver="newton-cholesky").fit(columns[fit], labels[fit])
    return float(roc_auc_score(labels[test], model.decision_function(columns[test])))


def _chance(labels: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> float:
    """Standard deviation of the macro AUROC of useless features, for independent labels.

    That of one label is Mann's and Whitney's (1947), with patients for images, which are alike.
    """
    table = patient_table(labels[:, ~np.isnan(scores).all(axis=0)], patients)
    has = (table.positives > 0).sum(axis=0)
    without = len(table) - has
    variances = (has + without + 1) / (12 * np.maximum(has * without, 1))
    return float(np.sqrt(variances.sum()) / max(len(variances), 1))


def _shortcut(
    name: str, of_files: bool, scores: np.ndarray, chance: float, label_names: Sequence[str]
) -> Shortcut:
    if np.isnan(scores).all():
        return Shortcut(name, of_files, None, None, {})
    counted = [fold[~np.isnan(fold)] for fold in scores]
    macros = np.array([fold.mean() for fold in counted if len(fold)])
    per_label = dict(_means(scores, label_names))
    return Shortcut(name, of_files, float(macros.mean()), chance, per_label)


def _means(scores: np.ndarray, label_names: Sequence[str]) -> Iterator[tuple[str, float]]:
    for name, column in zip(label_names, scores.T, strict=True):
        known = column[~np.isnan(column)]
        if len(known):
            yield name, float(known.mean())
