"""Measure one recipe with one seed: from its plan to a complete run directory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cxrbench.experiment.cohort import PreparedCohort
from cxrbench.experiment.conditions import checkpoint_key, run_conditions
from cxrbench.experiment.executors.interface import Executor, Place
from cxrbench.experiment.fit import RunOutcome, fit_and_predict, predict_prior, settle_batch_size
from cxrbench.experiment.plans import Plan, options_to_repeat
from cxrbench.experiment.record import record
from cxrbench.experiment.settling import computing
from cxrbench.experiment.stages import Clock, stage_seconds, stages_text
from cxrbench.interfaces import Display
from cxrbench.modeling.checkpoint import FOLDER as CHECKPOINT
from cxrbench.modeling.checkpoint import Checkpoints
from cxrbench.output.files import lock_of, locked
from cxrbench.request import Request
from cxrbench.runs.assessment import Scoring, scoring_of
from cxrbench.runs.directory import RUN, begin, digests, finish, is_complete, is_scored, run_path
from cxrbench.runs.scores import score_again
from cxrbench.runs.settings_file import CONFIG_FILE, write_config


@dataclass(frozen=True)
class PlannedRun:
    """A plan with its seed; ``shared`` are the seconds of the stages before all runs.

    It is the run ``number`` of ``count``. ``left`` are the seconds that this and the later runs
    take if each takes as long as those before it; None for the first.
    """

    plan: Plan
    seed: int
    shared: Mapping[str, float]
    number: int = 1
    count: int = 1
    left: float | None = None

    def announcement(self, path: Path, *, alone: bool) -> str:
        """What is said before it starts; the time left only where runs are done one by one."""
        minutes = 0 if self.left is None or not alone else round(self.left / 60)
        left = f" (about {minutes} min left)" if minutes else ""
        place = f"run {self.number} of {self.count}: " if self.count > 1 else ""
        return f"{place}{self.name} in {path}{left}"

    @property
    def name(self) -> str:
        return f"{self.plan.recipe.text} (seed {self.seed})"


def planned_runs(
    request: Request,
    plans: Sequence[Plan],
    data: PreparedCohort,
    executor: Executor,
    *,
    shared: Mapping[str, float],
) -> Iterator[tuple[str, PlannedRun]]:
    """Each plan with each seed, by name; all seeds of a plan have the same batch size."""
    settle = partial(_with_batch_size, data=data, cache=request.cache)
    seeds = {plan: request.all_seeds[: 1 if plan.recipe.is_prior else None] for plan in plans}
    count, number, start = sum(map(len, seeds.values())), 0, time.monotonic()
    for plan in plans:
        settled, seconds = plan, dict(shared)
        if plan.settings.batch_size == "auto" and not plan.recipe.is_prior:
            clock = Clock()
            (settled,) = executor.compute(settle, [(plan.recipe.text, plan)])
            clock.stop("batch-size")
            seconds |= clock.laps
        for seed in seeds[plan]:
            each = (time.monotonic() - start) / number if number else None
            left = None if each is None else each * (count - number)
            number += 1
            run = PlannedRun(settled, seed, seconds, number, count, left)
            yield run.name, run


def _with_batch_size(plan: Plan, place: Place, *, data: PreparedCohort, cache: Path) -> Plan:
    settings, display = plan.settings, place.display
    with computing(settings):
        size = settle_batch_size(plan.recipe, settings, data, cache=cache, display=display)
    return plan.with_settings(batch_size=size)


def measure_one(run: PlannedRun, place: Place, *, data: PreparedCohort, request: Request) -> Path:
    """Train, predict and score into a run directory; a complete one is used as it is."""
    with computing(run.plan.settings):
        return _measured(run, place, data, request)


def _measured(run: PlannedRun, place: Place, data: PreparedCohort, request: Request) -> Path:
    clock = Clock()
    plan, seed, display = run.plan, run.seed, place.display
    scoring = scoring_of(request.calibration, request.thresholds)
    conditions = run_conditions(plan.recipe, plan.settings, seed, data, scoring)
    path = run_path(
        request.runs,
        dataset=data.dataset.name,
        recipe=plan.recipe.text,
        protocol=conditions.protocol,
        seed=seed,
        key=conditions.run_key,
    )
    with ExitStack() as locks:
        with RUN.writing(request.runs):
            request.runs.mkdir(parents=True, exist_ok=True)
            locks.enter_context(locked([lock_of(path)], display))
        # What an attempt before this one left incomplete goes on, even where all is to be anew.
        anew = request.force and (place.attempt == 0 or is_complete(path))
        if is_complete(path) and not anew:
            return _as_it_is(run.name, path, scoring, display)
        display.say(run.announcement(path, alone=place.executor == "local"))
        conditions = replace(conditions, executor=place.executor, node=place.node, started=_now())
        with RUN.writing(path):
            begin(path, conditions, keep=None if anew else CHECKPOINT)
            options = options_to_repeat(plan, seed, data.dataset)
            write_config(path / CONFIG_FILE, {**options, **conditions.scoring})
        checkpoints = Checkpoints(path, checkpoint_key(conditions))
        outcome = (
            predict_prior(data)
            if plan.recipe.is_prior
            else fit_and_predict(
                plan.recipe,
                plan.settings,
                seed,
                data,
                cache=request.cache,
                checkpoints=checkpoints,
                display=display,
            )
        )
        with RUN.writing(path):
            laps = record(outcome, data, path, scoring)
            hashing = Clock()
            files = digests(path, without=CHECKPOINT)
            hashing.stop("save")
            own = (outcome.seconds, laps, hashing.laps)
            seconds = stage_seconds(run.shared, own, clock.elapsed())
            conditions = replace(conditions, finished=_now(), seconds=seconds, **_cost(outcome))
            finish(path, conditions, files=files, remove=CHECKPOINT)
        display.say(f"time of {run.name}: {stages_text(seconds)}")
    return path


def _as_it_is(name: str, path: Path, scoring: Scoring, display: Display) -> Path:
    if is_scored(path, scoring.to_json()):
        display.say(f"{name}: already complete, used as it is")
        return path
    display.say(f"{name}: already complete; its predictions are scored again")
    score_again(path, scoring)
    return path


def _cost(outcome: RunOutcome) -> dict[str, Any]:
    training, head = outcome.training, outcome.linear_head
    return {
        "parameters": outcome.parameters,
        "trainable_parameters": outcome.trainable_parameters,
        "best_epoch": None if training is None else training.best_epoch,
        "epochs_trained": len(training.history) or None if training else None,
        "train_seconds": None if training is None else training.seconds,
        "images_per_second": None if training is None else training.images_per_second,
        "linear_head": None if head is None else head.choices,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
