"""Every measure by sex, age band and view, and the largest gap between such groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cxrbench.metrics.estimate import Estimate
from cxrbench.metrics.intervals import (
    LEVEL,
    WITHOUT_INTERVAL,
    SeedScores,
    difference_interval,
    spread_of_difference,
)
from cxrbench.metrics.patients import (
    PatientTable,
    SplitPatients,
    counted_labels,
    patient_table,
    split_patients,
)
from cxrbench.metrics.resampling import Resampler, seed_of
from cxrbench.metrics.scorers import Images, Measured, measure, resample, scorers_of
from cxrbench.runs.predictions import Predictions

AGE_BANDS = ((0, 18, "under 18"), (18, 40, "18 to 39"), (40, 65, "40 to 64"), (65, 200, "65 up"))
"""From, below, name; ages in years."""


@dataclass(frozen=True)
class Group:
    """One group of test images: its measures, macro over the labels that all groups can be held to.

    ``macro`` and ``micro`` are by measure, ``labels`` by label and measure.
    """

    name: str
    images: int
    patients: int
    macro: Mapping[str, Estimate]
    micro: Mapping[str, Estimate]
    labels: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True)
class Gap:
    """The largest difference of a measure between two groups: ``higher`` minus ``lower``.

    The estimates chose these two of several groups, so its interval is wider than that of a single
    difference: Bonferroni's, for all pairs of groups.
    """

    higher: str
    lower: str
    difference: Estimate


@dataclass(frozen=True)
class Subgroups:
    """The groups of one attribute that are large enough, on the same labels.

    ``counted`` labels are in macro: those with 5 or more patients with and 5 without in every
    group. ``too_small`` groups have no label with as many; ``unknown`` images are in no group.
    ``gaps`` are by ``macro_auroc`` and the like.
    """

    attribute: str
    groups: tuple[Group, ...]
    counted: tuple[str, ...]
    too_small: tuple[str, ...]
    unknown: int
    gaps: Mapping[str, Gap]


def subgroups(
    test: Predictions,
    images: Images,
    *,
    board_key: str,
    replicates: int,
) -> tuple[Subgroups, ...]:
    """Measure the groups of each attribute on the same resamples of patients.

    Parameters
    ----------
    test : the predictions of the test split; ``images`` are the same, as they are scored.
    board_key : with the attribute's name, the only source of randomness.

    Groups that are too small have no measures.
    """
    return tuple(
        _attribute(name, groups, test, images, f"{board_key}/{name}", replicates)
        for name, groups in _attributes(test)
    )


def _attributes(test: Predictions) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    yield "sex", {name: test.sexes == name for name in sorted(set(test.sexes.tolist()) - {""})}
    yield "age", {name: (test.ages >= low) & (test.ages < high) for low, high, name in AGE_BANDS}
    yield "view", {name: test.views == name for name in sorted(set(test.views.tolist()) - {""})}


@dataclass(frozen=True, eq=False)
class _Part:
    """One group of images: on the whole split, and in every replicate."""

    name: str
    rows: np.ndarray
    table: PatientTable
    counted: np.ndarray
    whole: Measured
    replicates: Measured

    def scores(self, shared: np.ndarray) -> dict[str, _Score]:
        """Each measure, by ``macro_auroc`` and the like; macro over the ``shared`` labels."""
        patients = self.patients(shared)
        pairs = {
            "macro": (
                self.whole.macro(shared, self.whole),
                self.replicates.macro(shared, self.whole),
            ),
            "micro": (self.whole.micro, self.replicates.micro),
        }
        return {
            f"{kind}_{name}": _Score(
                name,
                SeedScores.alone(float(value[0]), replicates[name]),
                (patients.macro if kind == "macro" else patients.micro).of(name),
            )
            for kind, (whole, replicates) in pairs.items()
            for name, value in whole.items()
        }

    def patients(self, shared: np.ndarray) -> SplitPatients:
        return split_patients(self.table, shared)


@dataclass(frozen=True, eq=False)
class _Score:
    """A measure of one group, and the effective number of patients that it is known by."""

    measure: str
    scores: SeedScores
    patients: float

    @property
    def estimate(self) -> Estimate:
        return Estimate.of(self.measure, self.scores, self.patients)


def _attribute(
    name: str,
    members: Mapping[str, np.ndarray],
    test: Predictions,
    images: Images,
    key: str,
    replicates: int,
) -> Subgroups:
    present = {group: np.flatnonzero(inside) for group, inside in members.items() if inside.any()}
    counted = {
        group: counted_labels(test.y_true[rows], test.patients[rows]) & test.counted
        for group, rows in present.items()
    }
    large = {group: rows for group, rows in present.items() if counted[group].any()}
    parts = _parts(large, counted, test, images, key, replicates) if large else ()
    shared = np.logical_and.reduce([test.counted, *(part.counted for part in parts)])
    scores = {part.name: part.scores(shared) for part in parts}
    return Subgroups(
        attribute=name,
        groups=tuple(_group(part, scores[part.name], test) for part in parts),
        counted=tuple(np.array(test.label_names)[shared].tolist()) if parts else (),
        too_small=tuple(group for group in present if group not in large),
        unknown=len(test) - sum(map(len, present.values())),
        gaps=_gaps(scores) if len(parts) > 1 else {},
    )


def _parts(
    large: Mapping[str, np.ndarray],
    counted: Mapping[str, np.ndarray],
    test: Predictions,
    images: Images,
    key: str,
    replicates: int,
) -> tuple[_Part, ...]:
    sets = [scorers_of(images.subset(rows)) for rows in large.values()]
    measured, _ = resample(sets, _resampler(key, test, large, counted), replicates)
    once = np.ones((images.patients, 1))
    return tuple(
        _Part(
            name=group,
            rows=rows,
            table=patient_table(test.y_true[rows], test.patients[rows]),
            counted=counted[group],
            whole=measure(scorers, once),
            replicates=resampled,
        )
        for (group, rows), scorers, resampled in zip(large.items(), sets, measured, strict=True)
    )


def _resampler(
    key: str,
    test: Predictions,
    large: Mapping[str, np.ndarray],
    counted: Mapping[str, np.ndarray],
) -> Resampler:
    """Draws the patients of the whole split; each group keeps both classes of its own labels."""
    classes = []
    for group, rows in large.items():
        inside = np.full_like(test.y_true, np.nan)
        inside[rows] = test.y_true[rows]
        table = patient_table(inside, test.patients)
        classes += [table.positives[:, counted[group]] > 0, table.negatives[:, counted[group]] > 0]
    return Resampler(seed=seed_of(key), needed=np.column_stack(classes))


def _group(part: _Part, scores: Mapping[str, _Score], test: Predictions) -> Group:
    def of_kind(kind: str) -> dict[str, Estimate]:
        return {
            score.measure: score.estimate
            for name, score in scores.items()
            if name.startswith(f"{kind}_")
        }

    patients = part.patients(part.counted).labels
    labels = {
        label: {
            name: Estimate.of(
                name,
                SeedScores.alone(float(values[place, 0]), part.replicates.labels[name][place]),
                patients[place].of(name),
            )
            for name, values in part.whole.labels.items()
        }
        for place, label in enumerate(test.label_names)
    }
    return Group(
        name=part.name,
        images=len(part.rows),
        patients=len(np.unique(test.patients[part.rows])),
        macro=of_kind("macro"),
        micro=of_kind("micro"),
        labels=labels,
    )


def _gaps(groups: Mapping[str, Mapping[str, _Score]]) -> dict[str, Gap]:
    gaps = {}
    for name in next(iter(groups.values())):
        known = {
            group: scores[name]
            for group, scores in groups.items()
            if not math.isnan(scores[name].scores.mean)
        }
        if len(known) < 2:
            continue
        ordered = sorted(known, key=lambda group: known[group].scores.mean)
        higher, lower = ordered[-1], ordered[0]
        pairs = len(known) * (len(known) - 1) // 2
        gaps[name] = Gap(higher, lower, _difference(known[higher], known[lower], pairs))
    return gaps


def _difference(a: _Score, b: _Score, pairs: int) -> Estimate:
    difference = a.scores.mean - b.scores.mean
    if a.measure in WITHOUT_INTERVAL:
        return Estimate(difference)
    spread = spread_of_difference(a.scores, b.scores, min(a.patients, b.patients))
    level = 1 - (1 - LEVEL) / pairs
    return Estimate(difference, *difference_interval(difference, spread, level=level))
