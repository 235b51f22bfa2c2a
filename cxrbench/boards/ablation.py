"""Does a part help? Rows that differ by one part, with that part permuted or noise in its place."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from cxrbench.boards.comparison import Difference, paired_difference
from cxrbench.metrics.intervals import SeedScores
from cxrbench.metrics.ranking import holm
from cxrbench.output.files import digest_of
from cxrbench.recipe_text import split_recipe
from cxrbench.runs.conditions import Conditions, RunKind
from cxrbench.runs.run import Run
from cxrbench.runs.selection import Seeds, group_rows, row_scores
from cxrbench.settings import AUGMENTATION_OPTIONS

Score = Literal["macro_auroc", "micro_auroc"]
SCORES: tuple[Score, ...] = ("macro_auroc", "micro_auroc")

# What has to be the same in two rows that are to differ by a part alone.
_CONDITIONS = (
    *("fingerprint", "split_hash", "backend", "device", "devices", "precision", "version"),
    *("protocol", "weights", "weights_sha256", "image_size", "trains", "engine"),
    *("head", "standardised_image"),
)
# A recipe without a backbone has none of these, or others, because it has none.
_OF_THE_BACKBONE = frozenset(
    (
        *("protocol", "head", "standardised_image", "weights", "weights_sha256"),
        *("image_size", "trains", "engine"),
        *("epochs", "patience", "min_steps", "l2", "activations"),
        *("augment", *AUGMENTATION_OPTIONS),
    )
)


@dataclass(frozen=True)
class Gain:
    """What a part does to one score; differences are those of means over seeds.

    ``part`` is the recipe minus the one without the part; ``control`` is the recipe with the part
    permuted minus the one without it; ``beyond_control`` the recipe minus its control; ``noise``
    the recipe with noise in the place of the part minus the one without it. The last three
    differences are None where the control or the recipe with noise was not measured. The
    ``_p_holm`` are adjusted over both tests of all rows of the table.
    """

    part: Difference
    part_p_holm: float
    control: Difference | None
    beyond_control: Difference | None
    beyond_control_p_holm: float
    noise: Difference | None = None


@dataclass(frozen=True)
class PartGain:
    """One part of a recipe: what it adds, and what it costs.

    ``without`` and ``control`` are the recipes to compare with; the control need not have been
    measured, then ``runs_control`` is empty. ``noise`` is the recipe with noise in the place of the
    part, or ``""`` if it was not measured. ``parameters`` and ``train_seconds`` (NaN where
    unknown) are those of the recipe minus those without the part. ``config`` repeats the first of
    ``runs``.
    """

    part: str
    recipe: str
    without: str
    control: str
    protocol: str
    macro_auroc: Gain
    micro_auroc: Gain
    parameters: int
    train_seconds: float
    config: str
    runs: tuple[str, ...]
    runs_without: tuple[str, ...]
    runs_control: tuple[str, ...]
    noise: str = ""
    runs_noise: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """All rows of one board that have a part more than another, and nothing else that differs.

    ``board`` is its key; ``test_patients`` is None where patients are unknown.
    """

    board: str
    test_images: int
    test_patients: int | None
    rows: tuple[PartGain, ...]


class _Row:
    """The seeds of one recipe under one set of conditions; what is read of it is kept."""

    def __init__(self, runs: Seeds) -> None:
        self.runs = runs
        self.run = runs[0]
        self.recipe = split_recipe(self.run.conditions.recipe)
        self.has_backbone = self.run.conditions.image_size is not None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(run.name for run in self.runs)

    @property
    def parameters(self) -> int:
        return self.run.conditions.parameters or 0

    @cached_property
    def scores(self) -> Mapping[str, SeedScores]:
        return row_scores(self.runs, SCORES)

    def patients(self, score: Score) -> float:
        kind: Literal["macro", "micro"] = "macro" if score == "macro_auroc" else "micro"
        return self.run.effective_patients(kind).of("auroc")

    def train_seconds(self) -> float:
        seconds = [run.conditions.train_seconds for run in self.runs]
        return float(np.mean([math.nan if value is None else value for value in seconds]))


def ablations(runs: Iterable[Run]) -> tuple[Ablation, ...]:
    """For each board the gain of each part; boards without two rows to compare have no rows.

    Two rows are compared when one recipe has one part more than the other, the same fusion, and
    all conditions and settings are the same. Where the part is the backbone, those that say how it
    is trained (protocol, weights, image size, epochs, augmentation and their like) are left out of
    that: the other row cannot have them.

    Raises
    ------
    RunError : replicates cannot be read.
    """
    by_board: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_board[run.conditions.board_key].append(run)
    return tuple(_ablation(key, members) for key, members in by_board.items())


def _ablation(key: str, runs: Sequence[Run]) -> Ablation:
    trained = [run for run in runs if run.kind is RunKind.trained]
    rows = list(map(_Row, group_rows(trained, scored_alike=False)))  # AUROC has no calibration
    gains = sorted(_gains(rows), key=lambda row: (row.part, row.without, row.protocol))
    first = runs[0]
    return Ablation(
        board=key,
        test_images=first.test_images,
        test_patients=first.test_patients,
        rows=_corrected(gains),
    )


def _gains(rows: Sequence[_Row]) -> Iterator[PartGain]:
    alike: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    beside_backbone: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    unordered: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for row in rows:
        unordered[str(row.recipe.same_parts), _conditions(row.run.conditions)].append(row)
        alike[str(row.recipe), _conditions(row.run.conditions)].append(row)
        if not row.has_backbone:
            key = str(row.recipe), _conditions(row.run.conditions, _OF_THE_BACKBONE)
            beside_backbone[key].append(row)
    for row in rows:
        if row.recipe.has_control_parts or len(row.recipe.parts) < 2:
            continue
        strictly = _conditions(row.run.conditions)
        loosely = _conditions(row.run.conditions, _OF_THE_BACKBONE) if row.has_backbone else ""
        for part in row.recipe.parts:
            less = str(row.recipe.without(part))
            controls = alike.get((str(row.recipe.control(part)), strictly), [])
            noisy = str(row.recipe.noisy(part).same_parts)
            for other in alike.get((less, strictly), []) + beside_backbone.get((less, loosely), []):
                noise = unordered.get((noisy, _conditions(other.run.conditions)), [])
                yield _gain(
                    *(part, row, other),
                    *(controls[0] if controls else None, noise[0] if noise else None),
                )


def _conditions(conditions: Conditions, left_out: frozenset[str] = frozenset()) -> str:
    values = {name: getattr(conditions, name) for name in _CONDITIONS if name not in left_out}
    settings = {k: v for k, v in conditions.settings.items() if k not in left_out}
    return digest_of([values, settings])


def _gain(
    part: str, row: _Row, without: _Row, control: _Row | None, noise: _Row | None
) -> PartGain:
    return PartGain(
        part=part,
        recipe=str(row.recipe),
        without=str(without.recipe),
        control=str(row.recipe.control(part)),
        protocol=row.run.conditions.protocol,
        macro_auroc=_gain_of("macro_auroc", row, without, control, noise),
        micro_auroc=_gain_of("micro_auroc", row, without, control, noise),
        parameters=row.parameters - without.parameters,
        train_seconds=row.train_seconds() - without.train_seconds(),
        config=str(row.runs[0].path / "settings.toml"),
        runs=row.names,
        runs_without=without.names,
        runs_control=() if control is None else control.names,
        noise="" if noise is None else str(noise.recipe),
        runs_noise=() if noise is None else noise.names,
    )


def _gain_of(
    score: Score, row: _Row, without: _Row, control: _Row | None, noise: _Row | None
) -> Gain:
    def minus(a: _Row, b: _Row) -> Difference:
        return paired_difference(a.scores[score], b.scores[score], a.patients(score))

    return Gain(
        part=minus(row, without),
        part_p_holm=math.nan,
        control=None if control is None else minus(control, without),
        beyond_control=None if control is None else minus(row, control),
        beyond_control_p_holm=math.nan,
        noise=None if noise is None else minus(noise, without),
    )


def _corrected(rows: Sequence[PartGain]) -> tuple[PartGain, ...]:
    """The rows with Holm's correction over the gains and what is beyond the controls together."""
    corrected = list(rows)
    for score in SCORES:
        gains = [getattr(row, score) for row in corrected]
        tests = [_p(gain.part) for gain in gains] + [_p(gain.beyond_control) for gain in gains]
        adjusted_p = holm(tests)
        parts, beyond = adjusted_p[: len(gains)], adjusted_p[len(gains) :]
        for place, (gain, p, q) in enumerate(zip(gains, parts, beyond, strict=True)):
            gain = replace(gain, part_p_holm=p, beyond_control_p_holm=q)
            corrected[place] = replace(corrected[place], **{score: gain})
    return tuple(corrected)


def _p(difference: Difference | None) -> float:
    return math.nan if difference is None else difference.p
