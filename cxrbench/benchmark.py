"""The only orchestrator: from recipes and data to run directories and their board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cxrbench.boards.ablation import ablations, with_ablations
from cxrbench.boards.leaderboard import as_json, boards
from cxrbench.data.datasets import describe, find_dataset
from cxrbench.experiment.conditions import checkpoint_key, parts_of, run_conditions
from cxrbench.experiment.executors import open_executor
from cxrbench.experiment.executors.interface import Executor, Needs, Place
from cxrbench.experiment.fit import Outcome, fit_and_predict, predict_prior
from cxrbench.experiment.material import Material, gather_material
from cxrbench.experiment.plans import (
    Plan,
    ablation_recipes,
    absolute_plan,
    check_backbones,
    computing,
    make_plans,
    options_to_repeat,
    preparation_for,
    with_batch_size,
    with_devices,
    with_engines,
)
from cxrbench.experiment.record import record
from cxrbench.experiment.stages import Clock, stage_seconds, stages_text
from cxrbench.inference.images import cohort_images
from cxrbench.inference.latency import time_all
from cxrbench.inference.localise import require_boxes, score_all
from cxrbench.interfaces import Dataset, Display
from cxrbench.modeling.checkpoint import FOLDER as CHECKPOINT
from cxrbench.modeling.checkpoint import Checkpoints
from cxrbench.options import declare_options
from cxrbench.output.display import SilentDisplay
from cxrbench.output.files import lock_of, locked
from cxrbench.parameters import absolute_dataset
from cxrbench.registry import load_registry
from cxrbench.request import Request, known_options, request_of
from cxrbench.runs.assessment import Scoring, scoring_of
from cxrbench.runs.directory import RUN, begin, digests, finish, is_complete, is_scored, run_path
from cxrbench.runs.run import Run, read_run
from cxrbench.runs.scores import score_again
from cxrbench.runs.settings_file import CONFIG_FILE, write_config
from cxrbench.settings import thread_count


def run(
    recipes: str | Sequence[str], *, display: Display | None = None, **options: Any
) -> dict[str, Any]:
    """Build, train and score each recipe on one split, and return the board.

    Parameters
    ----------
    display : where progress goes. By default nowhere.

    Returns
    -------
    What ``cxrbench run --json --per-label`` prints: ``{"boards": [{"rows": [{…}], …}], …}``; with
    ``ablation`` each board has ``"ablation": [{…}]``.

    Raises
    ------
    CxrbenchError : for everything that the caller can mend.
    """
    request = request_of({"recipes": recipes, **options})
    runs = measure(request, display or SilentDisplay())
    plain: dict[str, Any] = as_json(boards(runs), (), per_label=True)
    return with_ablations(plain, ablations(runs)) if request.ablation else plain


declare_options(run, known_options().values())


def measure(request: Request, display: Display) -> tuple[Run, ...]:
    """Do what a request asks for; its runs and no others."""
    clock = Clock()
    registry = load_registry()
    dataset = find_dataset(request.data, registry, Path.cwd())
    added = ablation_recipes(request.recipes, registry) if request.ablation else ()
    plans = make_plans((*request.recipes, *added), registry, request.settings, dataset)
    display.say(describe(dataset, request.data))
    if added:
        display.say(f"added for the ablation: {', '.join(added)}")
    if request.executor != "local":  # work is done in other folders than this one
        request = replace(request, runs=request.runs.absolute(), cache=request.cache.absolute())
        dataset, plans = absolute_dataset(dataset), tuple(map(absolute_plan, plans))
    needs = _needs(request, plans, dataset)
    with open_executor(request.executor, request.ray_address, needs, display) as executor:
        (plans,) = executor.compute(_with_devices, [("devices", plans)])
        clock.stop("start")
        material = gather_material(
            dataset,
            plans[0].settings,
            preparation_for(plans),
            cache=request.cache,
            threads=executor.threads,
            display=display,
            images_in_order=executor.in_order,
        )
        clock.stop("prepare")
        if request.saliency:
            require_boxes(material.cohort, material.rows("test"))
        engines = partial(_with_engines, images=len(material.cohort), cache=request.cache)
        (plans,) = executor.compute(engines, [("engines", plans)])
        clock.stop("start")
        one = partial(_run_one, material=material, request=request)
        runs = _named_runs(plans, material, request, executor, clock.laps)
        paths = executor.compute(one, runs)
    if request.latency:
        settings = plans[0].settings
        with computing(settings):
            images = cohort_images(dataset, material.cohort, material.rows("test").tolist())
            time_all(paths, registry, images, settings.device, display)
    if request.saliency:
        threads = thread_count(request.threads)
        score_all(paths, registry, cache=request.cache, threads=threads, display=display)
    return tuple(read_run(path) for path in paths)


def _needs(request: Request, plans: Sequence[Plan], dataset: Dataset) -> Needs:
    settings = plans[0].settings
    return Needs(
        runs=request.runs,
        cache=request.cache,
        device=settings.device,
        devices=settings.devices,
        threads=request.threads,
        parts=(dataset, *(part for plan in plans for part in parts_of(plan.recipe))),
    )


def _with_devices(plans: tuple[Plan, ...], place: Place) -> tuple[Plan, ...]:
    settled = with_devices(plans)
    with computing(settled[0].settings):
        check_backbones(settled)
    return settled


def _with_engines(
    plans: tuple[Plan, ...], place: Place, *, images: int, cache: Path
) -> tuple[Plan, ...]:
    with computing(plans[0].settings):
        return with_engines(plans, images, cache=cache, display=place.display)


def _with_batch_size(plan: Plan, place: Place, *, material: Material, cache: Path) -> Plan:
    with computing(plan.settings):
        return with_batch_size(plan, material, cache=cache, display=place.display)


@dataclass(frozen=True)
class _Run:
    plan: Plan
    seed: int
    shared: Mapping[str, float]

    @property
    def name(self) -> str:
        return f"{self.plan.recipe.text} (seed {self.seed})"


def _named_runs(
    plans: Sequence[Plan],
    material: Material,
    request: Request,
    executor: Executor,
    before: Mapping[str, float],
) -> Iterator[tuple[str, _Run]]:
    settle = partial(_with_batch_size, material=material, cache=request.cache)
    for plan in plans:
        settled, shared = plan, dict(before)
        if plan.settings.batch_size == "auto":  # once, so that all seeds have the same
            clock = Clock()
            (settled,) = executor.compute(settle, [(plan.recipe.text, plan)])
            clock.stop("batch-size")
            shared |= clock.laps
        for seed in request.all_seeds[:1] if plan.recipe.is_prior else request.all_seeds:
            run = _Run(settled, seed, shared)
            yield run.name, run


def _run_one(run: _Run, place: Place, *, material: Material, request: Request) -> Path:
    with computing(run.plan.settings):
        return _measured(run, place, material, request)


def _measured(run: _Run, place: Place, material: Material, request: Request) -> Path:
    clock = Clock()
    plan, seed, display = run.plan, run.seed, place.display
    scoring = scoring_of(request.calibration, request.thresholds)
    conditions = run_conditions(plan.recipe, plan.settings, seed, material, scoring)
    path = run_path(
        request.runs,
        dataset=material.dataset.name,
        recipe=plan.recipe.text,
        protocol=conditions.protocol,
        seed=seed,
        key=conditions.run_key,
    )
    with ExitStack() as held:
        with RUN.writing(request.runs):
            request.runs.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked([lock_of(path)], display))
        # What an attempt before this one left incomplete goes on, even where all is to be anew.
        anew = request.force and (place.attempt == 0 or is_complete(path))
        if is_complete(path) and not anew:
            return _as_it_is(run.name, path, scoring, display)
        display.say(f"{run.name} in {path}")
        conditions = replace(conditions, executor=place.executor, node=place.node, started=_now())
        with RUN.writing(path):
            begin(path, conditions, keep=None if anew else CHECKPOINT)
            options = options_to_repeat(plan, seed, material.dataset)
            write_config(path / CONFIG_FILE, {**options, **conditions.scoring})
        checkpoints = Checkpoints(path, checkpoint_key(conditions))
        outcome = _outcome(plan, seed, material, request.cache, checkpoints, display)
        with RUN.writing(path):
            recorded = record(outcome, material, path, scoring)
            hashing = Clock()
            files = digests(path, without=CHECKPOINT)
            hashing.stop("save")
            own = (outcome.seconds, recorded, hashing.laps)
            seconds = stage_seconds(run.shared, own, clock.elapsed())
            conditions = replace(conditions, finished=_now(), seconds=seconds, **_cost(outcome))
            finish(path, conditions, files=files, remove=CHECKPOINT)
        display.say(f"time of {run.name}: {stages_text(seconds)}")
    return path


def _as_it_is(name: str, path: Path, scoring: Scoring, display: Display) -> Path:
    if is_scored(path, scoring.to_json()):
        display.say(f"{name}: complete already, used as it is")
        return path
    display.say(f"{name}: complete already, its predictions are scored again")
    score_again(path, scoring)
    return path


def _outcome(
    plan: Plan,
    seed: int,
    material: Material,
    cache: Path,
    checkpoints: Checkpoints,
    display: Display,
) -> Outcome:
    if plan.recipe.is_prior:
        return predict_prior(material)
    return fit_and_predict(
        plan.recipe,
        plan.settings,
        seed,
        material,
        cache=cache,
        checkpoints=checkpoints,
        display=display,
    )


def _cost(outcome: Outcome) -> dict[str, Any]:
    training = outcome.training
    return {
        "parameters": outcome.parameters,
        "trainable_parameters": outcome.trainable_parameters,
        "best_epoch": None if training is None else training.best_epoch,
        "train_seconds": None if training is None else training.seconds,
        "images_per_second": None if training is None else training.images_per_second,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
