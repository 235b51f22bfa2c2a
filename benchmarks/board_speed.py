"""Time a board of many runs, from run directories as the package writes them.

    python benchmarks/board_speed.py [--rows 1000] [--seeds 1] [--folder DIR]

Twenty run directories are written as a run writes its own, with scores that were drawn: 15 labels,
400 test images of 134 patients, 1,000 replicates, each with a skill of its own. The others have the
files of one of these with macro AUROC and its replicates moved by chance, so that all rows differ;
each has its own ``run.json``. Encoders and weights are left out, since no board reads them. With
``--folder`` the directories are kept, and used again where they are there. Times are the fastest of
three, files warm.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from cxrbench.boards.ablation import ablations
from cxrbench.boards.board import boards
from cxrbench.builtin.phantom import Phantom
from cxrbench.data.cohort import fingerprint
from cxrbench.data.splits import Split
from cxrbench.experiment.cohort import PreparedCohort
from cxrbench.experiment.conditions import run_conditions
from cxrbench.experiment.fit import RunOutcome
from cxrbench.experiment.record import record
from cxrbench.interfaces import Cohort
from cxrbench.output.files import read_arrays, write_json
from cxrbench.recipe import parse_recipe
from cxrbench.registry import load_registry
from cxrbench.runs.assessment import scoring_of
from cxrbench.runs.directory import begin, finish, run_path
from cxrbench.runs.predictions import TestSet
from cxrbench.runs.run import BOOTSTRAP_FILE, DETAILS_FILE, METRICS_FILE, SUBGROUPS_FILE, read_runs
from cxrbench.settings import resolve_settings

LABELS = 15
IMAGES = 800  # every second one is in test, the others in train and val
MAIN = "from cxrbench.cli import main; main()"
WRITTEN = 20
COST: dict[str, Any] = {"parameters": 10**6, "trainable_parameters": 10**6}
OPTIONS = {"protocol": "probe", "weights": "none", "device": "cpu", "precision": "float32"}


def drawn_cohort() -> PreparedCohort:
    """A cohort with labels as rare as NIH's, without any image."""
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(IMAGES // 3 + 1), 3)[:IMAGES]
    parts = np.array(["test", "train", "test", "val"])[owners % 4]
    labels = (rng.random((IMAGES, LABELS)) < np.geomspace(0.05, 0.5, LABELS)).astype(np.float32)
    ids = tuple(f"{row:08}.png" for row in range(IMAGES))
    patients = tuple(f"p{owner:05}" for owner in owners)
    cohort = Cohort(
        name="drawn",
        label_names=(*(f"Finding_{number}" for number in range(LABELS - 1)), "No Finding"),
        image_ids=ids,
        patient_ids=patients,
        labels=labels,
        ages=rng.integers(20, 90, IMAGES).astype(np.float32),
        sexes=tuple("FM"[owner % 2] for owner in owners),
        views=tuple(("PA", "AP")[owner % 2] for owner in owners),
        sources=ids,
    )
    return PreparedCohort(
        dataset=Phantom(),
        cohort=cohort,
        split=Split(parts, "patient", seed=0, fractions=(0.25, 0.25, 0.5), hash="0" * 64),
        prepared=cast("Any", SimpleNamespace(excluded=(), digests=ids)),
        fingerprint=fingerprint(cohort, ids),
        test=TestSet.of(cohort, np.flatnonzero(parts == "test")),
        images_key="",
    )


def write_runs(folder: Path, rows: int, seeds: int) -> None:
    """Run directories of recipes that differ in a parameter."""
    data, registry, scoring = drawn_cohort(), load_registry(), scoring_of("none", "youden")
    settings = resolve_settings({**OPTIONS, "augment": "none"}, {})
    rng, written = np.random.default_rng(1), list[Path]()
    for number in range(rows * seeds):
        row, seed = divmod(number, seeds)
        recipe = parse_recipe(f"orb:nfeatures={100 + row}+sift", registry)
        conditions = run_conditions(recipe, settings, seed, data, scoring)
        name = {"dataset": "drawn", "recipe": recipe.text, "protocol": "probe"}
        path = run_path(folder, **name, seed=seed, key=conditions.run_key)
        begin(path, conditions)
        if number < WRITTEN:
            record(drawn_outcome(data, rng), data, path, scoring)
            written.append(path)
        else:
            imitate(written[number % WRITTEN], path, rng)
        finish(path, replace(conditions, **COST, train_seconds=rng.uniform(1, 9)))


def drawn_outcome(data: PreparedCohort, rng: np.random.Generator) -> RunOutcome:
    """Predictions that know so much of the truth."""
    truth = np.nan_to_num(data.cohort.labels)
    logits = rng.uniform(0, 1.5) * truth + rng.normal(size=truth.shape)
    y_score = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return RunOutcome(y_score[data.rows("val")], y_score[data.rows("test")])


def imitate(run: Path, path: Path, rng: np.random.Generator) -> None:
    """The scores of another run, moved."""
    arrays = read_arrays(run / BOOTSTRAP_FILE)
    shift, count = rng.normal(scale=0.02), len(arrays["macro_auroc"])
    arrays["macro_auroc"] += shift + rng.normal(scale=0.005, size=count)
    np.savez(path / BOOTSTRAP_FILE, **cast("dict[str, Any]", arrays))
    metrics = json.loads((run / METRICS_FILE).read_text(encoding="utf-8"))
    write_json(path / METRICS_FILE, {**metrics, "macro_auroc": metrics["macro_auroc"] + shift})
    for name in (DETAILS_FILE, SUBGROUPS_FILE):
        os.link(run / name, path / name)


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def command(*arguments: str) -> None:
    """The command line in a process of its own, its output read and thrown away."""
    subprocess.run([sys.executable, "-c", MAIN, *arguments], check=True, stdout=subprocess.PIPE)


def main() -> None:
    """Write runs where there are none, and print a line for each way to ask for the board."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        if not folder.is_dir() or not any(folder.iterdir()):
            write_runs(folder, given.rows, given.seeds)
        runs, _ = read_runs(folder)
        ways: dict[str, Callable[[], object]] = {
            "read_runs": lambda: read_runs(folder),
            "boards(runs), without labels": lambda: boards(runs, per_label=False),
            "ablations(runs)": lambda: ablations(runs),
            "cxrbench leaderboard --json": lambda: command(
                "leaderboard", "--runs", str(folder), "--json"
            ),
            "cxrbench --version": lambda: command("--version"),
        }
        print(f"{len(runs):,} runs, {len(boards(runs, per_label=False)[0].rows):,} rows")
        for name, work in ways.items():
            print(f"{name:32} {fastest(work):6.2f} s")


if __name__ == "__main__":
    main()
