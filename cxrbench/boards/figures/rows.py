"""Rows of a board with the data that their figures need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cxrbench.boards.board import Board, boards
from cxrbench.boards.label_rows import mean_if_known, number_or_nan
from cxrbench.errors import RunError, SettingsError
from cxrbench.interfaces import Display
from cxrbench.metrics.calibration import Calibration
from cxrbench.output.display import SilentDisplay
from cxrbench.output.figure_style import folded
from cxrbench.output.files import digest_of
from cxrbench.output.sections import count_or_unknown
from cxrbench.parameters import nearest
from cxrbench.recipe_text import split_recipe
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import Predictions, read_predictions
from cxrbench.runs.run import Run, SkippedRun, read_run
from cxrbench.runs.scores import verified, verify_scores
from cxrbench.runs.selection import (
    Seeds,
    board_facts,
    find_row,
    read_board_runs,
    require_one_board,
)

FEW_PATIENTS = 20


@dataclass(frozen=True, eq=False)
class FigureRow:
    """A row, its seeds' scores of the test images and the thresholds that they chose.

    ``name`` is the recipe, with the start of its key where another row has the same recipe.
    ``y_score`` (S, N, L) and ``thresholds`` (S, L) are by seed, NaN where there is no threshold;
    ``test`` has the images and their truth.
    """

    name: str
    runs: Seeds
    test: Predictions
    y_score: np.ndarray
    thresholds: np.ndarray

    @property
    def is_prior(self) -> bool:
        """Whether this row looks at no image."""
        return self.runs[0].kind is RunKind.prior

    @property
    def calibration(self) -> str:
        """The method that was fitted on the validation split, or ``"none"``."""
        return calibration_of(self.runs)

    def calibrated_scores(self) -> np.ndarray:
        """The scores of each seed after its calibration: (S, N, L)."""
        fitted = [Calibration.from_json(run.metrics["calibration"]) for run in self.runs]
        pairs = zip(fitted, self.y_score, strict=True)
        return np.stack([calibration.apply(scores) for calibration, scores in pairs])

    def panel_title(self, column: int) -> str:
        """A label's name, with a star where it does not count in macro."""
        name = folded(self.test.label_names[column])
        return name if self.test.counted[column] else f"{name} *"

    def star_note(self, columns: Sequence[int]) -> str:
        """The meaning of the star, for the end of a title; empty without a star."""
        return "" if self.test.counted[list(columns)].all() else "; *: not counted in macro"

    def label_mean(self, column: int, measure: str) -> float | None:
        """A score of one label, the mean over seeds; None where a seed has none."""
        return mean_if_known([run.labels[column].get(measure) for run in self.runs])


def choose_rows(
    names: Sequence[str], folder: Path, display: Display | None = None, *, verify: bool = False
) -> tuple[Seeds, ...]:
    """The rows that ``names`` mean, or without names those of the largest board in ``folder``.

    Without names, damaged runs are left out, and ``display`` names them. With ``verify`` all scores
    are computed from the predictions again, and a run whose scores differ counts as damaged.

    Raises
    ------
    RunError : there is no such row, they are not all of one board, or a named run is damaged.
    """
    display = display or SilentDisplay()
    if names:
        read = cache(read_run)  # each name looks at all runs
        rows = [find_row(name, folder, read=read) for name in names]
        for row in rows[1:]:
            require_one_board(rows[0], row)
        for run in {run.path: run for row in rows for run in row if verify}.values():
            verify_scores(run)
        # Two names of one row are one row.
        return tuple({tuple(run.conditions.run_key for run in row): row for row in rows}.values())
    complete, skipped = read_board_runs(folder, per_label=True, predictions=True)
    _say_left_out(skipped, display)
    largest = boards(complete, per_label=False)[:1]
    if verify and largest:
        members = [run for run in complete if run.conditions.board_key == largest[0].key]
        complete, skipped = verified(members, display)
        _say_left_out(skipped, display)
        largest = boards(complete, per_label=False)
    if not largest:
        raise RunError(
            f"there is no complete run in {folder}",
            fix="run a recipe with `cxrbench run RECIPE…`, or set the folder with --runs",
        )
    by_name = {run.name: run for run in complete}
    return tuple(tuple(by_name[name] for name in row.runs) for row in largest[0].rows)


def _say_left_out(runs: Sequence[SkippedRun], display: Display) -> None:
    for run in runs:
        display.say(f"left out: {run.reason}")


def whole_board(rows: Sequence[Seeds], folder: Path) -> Board:
    """The board that the rows are on, with all rows in ``folder``: ranks depend on them."""
    runs = {run.conditions.run_key: run for row in rows for run in row}
    if folder.is_dir():
        facts = board_facts(rows[0][0])
        beside, _ = read_board_runs(folder)
        runs = {run.conditions.run_key: run for run in beside if board_facts(run) == facts} | runs
    recipes = [split_recipe(row[0].conditions.recipe) for row in rows]
    controls = any(recipe.has_control_parts for recipe in recipes)
    (board,) = boards(runs.values(), per_label=False, controls=controls)
    return board


def control_runs(rows: Sequence[Seeds], folder: Path, display: Display) -> tuple[Run, ...]:
    """The runs of control rows in ``folder`` that are on the board of ``rows``, without theirs.

    Runs whose scores do not follow from their predictions are left out, and ``display`` names them.
    """
    if not folder.is_dir():
        return ()
    own = {run.conditions.run_key for row in rows for run in row}
    facts = board_facts(rows[0][0])
    controls = [
        run
        for run in read_board_runs(folder)[0]
        if board_facts(run) == facts
        and run.conditions.run_key not in own
        and split_recipe(run.conditions.recipe).has_control_parts
    ]
    sound, skipped = verified(controls, display) if controls else ((), ())
    _say_left_out(skipped, display)
    return sound


def row_names(rows: Sequence[Seeds]) -> tuple[str, ...]:
    """The recipe of each row, with the start of its key and its seeds where others have it too."""
    recipes = [row[0].conditions.recipe for row in rows]
    keys = [row[0].conditions.row_key for row in rows]
    names = []
    for row, recipe, key in zip(rows, recipes, keys, strict=True):
        same = {other for other, name in zip(keys, recipes, strict=True) if name == recipe}
        marks = [key[:6]] if len(same) > 1 else []
        if keys.count(key) > 1:
            seeds = ", ".join(str(run.conditions.seed) for run in row)
            marks.append(f"seed {seeds}" if len(row) == 1 else f"seeds {seeds}")
        names.append(f"{recipe} ({', '.join(marks)})" if marks else recipe)
    return tuple(names)


def read_figure_row(row: Seeds, name: str) -> FigureRow:
    """Read what the seeds of a row predicted.

    Raises
    ------
    RunError : a file of a run is missing, damaged or was changed after the run.
    """
    seeds = [read_predictions(run) for run in row]
    labels = [run.labels for run in row]
    return FigureRow(
        name=name,
        runs=row,
        test=seeds[0],
        y_score=np.stack([seed.y_score for seed in seeds]),
        thresholds=np.array(
            [[number_or_nan(label["threshold"]) for label in table] for table in labels], np.float64
        ),
    )


def label_columns(names: Sequence[str], row: Seeds) -> tuple[int, ...]:
    """Places of the labels to draw: those with these ``names``, else those that count, else all.

    Raises
    ------
    SettingsError : the board has no such label.
    """
    labels, counted = row[0].conditions.labels, row[0].conditions.labels_counted
    spelt = {label.lower(): label for label in labels}
    unknown = [name for name in names if name.lower() not in spelt]
    if unknown:
        raise SettingsError(
            f"the board has no label {', '.join(unknown)}",
            expected=", ".join(labels),
            found=", ".join(unknown),
            fix=nearest(unknown[0], labels) or "use labels of this board with --label",
        )
    chosen = [spelt[name.lower()] for name in names]
    return tuple(labels.index(label) for label in chosen or counted or labels)


def calibration_of(row: Seeds) -> str:
    """How a row was calibrated; ``"none"`` says that its scores are as the model gave them."""
    return str(row[0].conditions.scoring["calibration"])


def has_thresholds(row: Seeds) -> bool:
    """Whether each seed has decisions: a submission without validation predictions has none."""
    tables = [run.labels for run in row]
    return all(any(label["threshold"] is not None for label in table) for table in tables)


def conditions(row: Seeds) -> str:
    """The data and the test set of the row, for the second line of a title."""
    patients = count_or_unknown(row[0].test_patients)
    data = row[0].conditions.data_text
    return f"{data} · {row[0].test_images:,} test images of {patients} patients"


def seeds_text(row: Seeds, how: str) -> str:
    """How several seeds were joined; empty for one seed."""
    return f" · {how} of {len(row)} seeds" if len(row) > 1 else ""


def file_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of rows as file systems take them, each once, also without capitals."""
    chosen: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9+@.=_-]+", "_", name).strip("_")
        plain = plain if len(plain) <= 100 else f"{plain[:93]}-{digest_of(name)[:6]}"
        endings = ("", *(f"-{number}" for number in range(2, len(names) + 1)))
        unique = next(plain + end for end in endings if (plain + end).lower() not in chosen)
        chosen[unique.lower()] = unique
    return tuple(chosen.values())
