"""Find the runs that a user names by run directory or by recipe."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np

from cxrbench.errors import PluginError, RecipeError, RunError
from cxrbench.metrics.boxes import MEASURES as SALIENCY_MEASURES
from cxrbench.metrics.estimate import read_estimate
from cxrbench.metrics.intervals import SeedScores
from cxrbench.metrics.measures import MEASURES
from cxrbench.output.sections import count_or_unknown
from cxrbench.parameters import nearest
from cxrbench.recipe import PRIOR, parse_recipe
from cxrbench.registry import Registry, load_registry
from cxrbench.runs.additions import saliency_replicates, stored_latency, stored_saliency
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import REPLICATES, RUN_FILE, Run, SkippedRun, read_run, read_runs

Seeds = tuple[Run, ...]
"""The runs of one row, by seed."""


def group_rows(runs: Iterable[Run], *, scored_alike: bool = True) -> tuple[Seeds, ...]:
    """The rows of runs: those that differ in nothing but the seed are one row.

    Without ``scored_alike`` they may differ in calibration and thresholds, on which neither AUROC
    nor average precision depends.

    A board has one prior. Where `run` and `submit` made several, the one with validation images
    has the thresholds that the others may lack, and the last of these is taken.
    """
    rows: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = run.row_key if scored_alike else run.conditions.row_key
        key = "prior" if run.kind is RunKind.prior else key
        rows.setdefault((run.conditions.board_key, key), []).append(run)
    return tuple(
        (max(row, key=_completeness),)
        if key == "prior"
        else tuple(sorted(row, key=lambda run: run.conditions.seed))
        for (_, key), row in rows.items()
    )


def _completeness(run: Run) -> tuple[int, str, str]:
    return run.conditions.val_images, run.conditions.finished or "", run.name


def find_row(
    text: str,
    runs: Path,
    *,
    read: Callable[[Path], Run] = read_run,
    scored_alike: bool = True,
) -> Seeds:
    """The seeds of the row that ``text`` names: a run directory alone, or a recipe with all seeds.

    A run directory is a path, or a name below ``runs``. A recipe can be written in every way that
    `cxrbench.run` accepts; where a plugin is missing, as the board writes it. ``read`` reads a run.
    ``scored_alike`` is as in `group_rows`.

    Raises
    ------
    RunError : there is no such run or recipe, or several rows have this recipe.
    """
    rows = _rows_named(text, runs, read, scored_alike=scored_alike)
    if len(rows) > 1:
        raise _several(text, rows)
    return rows[0]


def read_board_runs(
    folder: Path, *, per_label: bool = False, predictions: bool = False
) -> tuple[tuple[Run, ...], tuple[SkippedRun, ...]]:
    """The complete runs below ``folder`` that a board can be made of, and what was skipped.

    Everything that a board reads was read and is valid, with ``per_label`` also the scores of
    labels, with ``predictions`` also these; runs of one board agree on its test set. One damaged
    run therefore costs its own row only.

    Raises
    ------
    RunError : there is no such folder.
    """
    complete, skipped = read_runs(
        folder, read=partial(_read_whole, per_label=per_label, predictions=predictions)
    )
    boards: dict[str, list[Run]] = {}
    for run in complete:
        boards.setdefault(run.conditions.board_key, []).append(run)
    why = "names the test set of other runs, and has other labels, images, patients or replicates"
    odd: dict[Path, str] = {}
    for runs in boards.values():
        usual = Counter(map(board_facts, runs)).most_common(1)[0][0]
        odd |= {run.path: f"{run.name!r} {why}" for run in runs if board_facts(run) != usual}
    for seeds in group_rows(run for run in complete if run.path not in odd):
        odd |= _damaged_seeds(seeds)
    return (
        tuple(run for run in complete if run.path not in odd),
        (*skipped, *(SkippedRun(path, reason) for path, reason in odd.items())),
    )


def _damaged_seeds(seeds: Seeds) -> dict[Path, str]:
    """The runs whose replicates cannot be joined with those of other seeds, and why."""
    names = [f"{kind}_{name}" for kind in ("macro", "micro") for name in MEASURES]
    reasons = {}
    for run in seeds if len(seeds) > 1 else ():
        try:
            run.details([name for name in names if name not in REPLICATES])
        except RunError as error:
            reasons[run.path] = str(error).splitlines()[0]
    return reasons


def _read_whole(path: Path, *, per_label: bool, predictions: bool) -> Run:
    run = read_run(path)
    _ = run.macro_replicates
    stored_latency(run)
    if stored_saliency(run) is not None:
        saliency_replicates(run, SALIENCY_MEASURES)
    if per_label:
        _ = run.labels
        run.details([f"label_{name}" for name in MEASURES])
    if predictions:
        read_predictions(run)
    return run


def board_facts(run: Run) -> tuple[object, ...]:
    """What the runs of one board have in common."""
    conditions, metrics = run.conditions, run.metrics
    return (
        conditions.board_key,
        *(conditions.labels, conditions.labels_counted, conditions.patients_known),
        *(metrics["images"], metrics["patients"], len(run.macro_replicates)),
    )


def find_pair(a: str, b: str, runs: Path) -> tuple[Seeds, Seeds]:
    """The two rows of one board that the texts name; each text as in `find_row`.

    A recipe that stands on several boards means its row on the board that has the other one too.

    Raises
    ------
    RunError : as in `find_row`, or no board has both.
    """
    rows_a, rows_b = (_rows_named(text, runs, read_run, scored_alike=False) for text in (a, b))
    pairs = [
        (row_a, row_b)
        for row_a in rows_a
        for row_b in rows_b
        if row_a[0].conditions.board_key == row_b[0].conditions.board_key
    ]
    if len(pairs) > 1:
        raise _several(*((a, rows_a) if len(rows_a) > 1 else (b, rows_b)))
    if not pairs:
        require_one_board(rows_a[0], rows_b[0])
    return pairs[0]


def _rows_named(
    text: str, runs: Path, read: Callable[[Path], Run], *, scored_alike: bool = True
) -> tuple[Seeds, ...]:
    """One row or more."""
    for path in (Path(text), runs / text):
        if os.path.exists(path / RUN_FILE):  # Path.exists raises for a name that is too long
            return ((read(path),),)
    complete, skipped = read_runs(runs, read=read) if runs.is_dir() else ((), ())
    rows = group_rows(_with_recipe(text, complete), scored_alike=scored_alike)
    if rows:  # a recipe means a smoke test only where there is nothing else
        return tuple(row for row in rows if row[0].conditions.limit is None) or rows
    if Path(text).is_dir():
        read(Path(text))  # says why it is no run
    if not runs.is_dir():
        read_runs(runs)
    known = sorted({run.conditions.recipe for run in complete})
    raise RunError(
        f"{runs} has no run and no recipe {text!r}",
        expected="a run directory, or one of " + ", ".join(known) if known else None,
        found="; ".join([f"{len(complete)} complete runs", *(run.reason for run in skipped[:3])]),
        fix=nearest(text, known) or "use one of these, or set the folder with --runs",
    )


def with_recipes(patterns: Sequence[str], runs: Sequence[Run]) -> tuple[Run, ...]:
    """The priors, and the runs with one of these recipes.

    A recipe can be written in every way that `cxrbench.run` accepts, or with ``*`` for any text.

    Raises
    ------
    RunError : no run has such a recipe.
    """
    chosen = {PRIOR}
    for pattern in patterns:
        matches = {r.conditions.recipe for r in runs if fnmatchcase(r.conditions.recipe, pattern)}
        matches |= {run.conditions.recipe for run in _with_recipe(pattern, runs)}
        if not matches:
            known = sorted({run.conditions.recipe for run in runs})
            raise RunError(
                f"no run has the recipe {pattern!r}",
                expected=", ".join(known) or None,
                found=pattern,
                fix=nearest(pattern, known) or "use one of these, or * for any text",
            )
        chosen |= matches
    return tuple(run for run in runs if run.conditions.recipe in chosen)


def _several(text: str, rows: Sequence[Seeds]) -> RunError:
    return RunError(
        f"{len(rows)} rows have the recipe {text!r}",
        expected="a recipe with one row: one combination of settings, data, split and scoring",
        found="; ".join(
            ", ".join(run.name for run in row[:2]) + (", …" if len(row) > 2 else "") for row in rows
        ),
        fix="use a run directory instead of the recipe",
    )


def with_other_seeds(row: Seeds, *, read: Callable[[Path], Run] = read_run) -> Seeds:
    """The row with all its seeds in the same folder, where a directory named one of them alone."""
    key, (folder,) = row[0].conditions.row_key, {run.path.absolute().parent for run in row}
    runs = read_runs(folder, read=read)[0]
    others = [run for run in runs if run.conditions.row_key == key]
    return tuple(sorted(others, key=lambda run: run.conditions.seed)) or row


def find_seeds(text: str, runs: Path, seed: int | None = None) -> Seeds:
    """The runs that ``text`` names, as in `find_row`: all seeds, or the one with ``seed``.

    Raises
    ------
    RunError : there is no such run, or several rows have this recipe.
    """
    row = find_row(text, runs, scored_alike=False)
    return row if seed is None else (only_run(row, text, seed),)


def only_run(row: Seeds, text: str, seed: int) -> Run:
    """The run with this seed in the row that ``text`` names.

    Raises
    ------
    RunError : there is no such run, or there are several.
    """
    matches = [run for run in row if run.conditions.seed == seed]
    if len(matches) == 1:
        return matches[0]
    seeds = ", ".join(str(run.conditions.seed) for run in row)
    raise RunError(
        f"{text!r} names {len(matches) or 'no'} runs of seed {seed}",
        expected="one run",
        found=f"the seeds {seeds}" if len(row) > 1 else f"the seed {seeds}",
        fix="use a run directory, or choose one of these seeds with --seed",
    )


def _with_recipe(text: str, runs: Sequence[Run]) -> list[Run]:
    exact = [run for run in runs if run.conditions.recipe == text]
    if exact or not runs:
        return exact
    registry = load_registry()
    recipe = _canonical(text, registry)
    texts = {run.conditions.recipe for run in runs}
    same = {other for other in texts if _canonical(other, registry) == recipe}
    return [run for run in runs if run.conditions.recipe in same]


def _canonical(text: str, registry: Registry) -> str:
    """The canonical text of a recipe; what is none here stays as it is."""
    try:
        return parse_recipe(text, registry).text
    except (RecipeError, PluginError):
        return text


def require_one_board(a: Sequence[Run], b: Sequence[Run]) -> None:
    """Raise `RunError` unless both rows were scored on the same test images."""
    runs = (*a, *b)
    if len({board_facts(run) for run in runs}) == 1:
        return
    raise RunError(
        f"{a[0].name} and {b[0].name} were not scored on the same test images",
        expected="runs with the same labels, test images, patients and truth",
        found=f"{_test_set(a[0])}, and {_test_set(b[0])}",
        fix="run both on the same data and split",
    )


def _test_set(run: Run) -> str:
    conditions = run.conditions
    return (
        f"{run.test_images:,} images of {count_or_unknown(run.test_patients)} patients of "
        f"{conditions.dataset} (split {conditions.split}, seed {conditions.split_seed}, "
        f"{len(conditions.labels)} labels)"
    )


def row_scores(seeds: Seeds, names: Sequence[str]) -> dict[str, SeedScores]:
    """Macro and micro scores of a row by name, with their replicates.

    Raises
    ------
    RunError : replicates are missing, damaged or other than those that a run wrote.
    """
    kept = [name for name in names if name in REPLICATES]
    others = [name for name in names if name not in REPLICATES]
    drawn = [run.replicates(kept) | (run.details(others) if others else {}) for run in seeds]
    return {
        name: SeedScores(
            np.array([read_estimate(run.metrics, name).value for run in seeds]),
            np.stack([arrays[name] for arrays in drawn]),
        )
        for name in names
    }
