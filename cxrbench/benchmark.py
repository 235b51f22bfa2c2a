"""The steps of a run in order: from recipes and data to run directories and their board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cxrbench.boards.ablation import ablations
from cxrbench.boards.board import boards
from cxrbench.boards.leaderboard import Leaderboard
from cxrbench.data.datasets import describe, find_dataset
from cxrbench.experiment.cohort import load_and_split, prepare_cohort
from cxrbench.experiment.conditions import parts_of
from cxrbench.experiment.executors import open_executor
from cxrbench.experiment.executors.interface import Needs
from cxrbench.experiment.plans import (
    Plan,
    ablation_recipes,
    absolute_plan,
    make_plans,
    preparation_for,
)
from cxrbench.experiment.settling import check_before_decoding, computing, settle
from cxrbench.experiment.single_run import measure_one, planned_runs
from cxrbench.experiment.stages import Clock
from cxrbench.inference.images import cohort_images
from cxrbench.inference.latency import time_all
from cxrbench.inference.localise import score_all
from cxrbench.interfaces import Dataset, Display
from cxrbench.options import declare_options
from cxrbench.output.display import notebook_display
from cxrbench.output.show import plain
from cxrbench.parameters import absolute_dataset
from cxrbench.recipe_text import split_recipe
from cxrbench.registry import load_registry
from cxrbench.request import Request, known_options, request_of
from cxrbench.runs.run import Run, read_run


def run(
    recipes: str | Sequence[str], *, display: Display | None = None, **options: Any
) -> dict[str, Any]:
    """Build, train and score each recipe on one split, and return the board.

    Parameters
    ----------
    display : shows progress. By default, progress is shown in Jupyter notebooks only.

    Returns
    -------
    What ``cxrbench run --json --per-label`` prints: ``{"boards": [{"rows": [{…}], …}], …}``; with
    ``ablation`` each board has ``"ablation": [{…}]``.

    Raises
    ------
    CxrbenchError : for every problem that the caller can fix.
    """
    request = request_of({"recipes": recipes, **options})
    runs = measure(request, display or notebook_display())
    values: dict[str, Any] = plain(leaderboard_of(runs, request, per_label=True).to_json())
    return values


def leaderboard_of(runs: Sequence[Run], request: Request, *, per_label: bool) -> Leaderboard:
    """The boards of the runs of a request, with the gain of each part if it is requested.

    Control rows are shown if the request names one; those that it adds for an ablation are not.
    """
    gains = ablations(runs) if request.ablation else None
    controls = any(split_recipe(text).has_control_parts for text in request.recipes)
    shown = boards(runs, per_label=per_label, controls=controls)
    return Leaderboard(shown, per_label=per_label, ablations=gains)


declare_options(run, known_options().values())


def measure(request: Request, display: Display) -> tuple[Run, ...]:
    """Compute the runs of a request and return them."""
    clock = Clock()
    registry = load_registry()
    dataset = find_dataset(request.data, registry, Path.cwd())
    added: tuple[str, ...] = ()
    if request.ablation:
        added = ablation_recipes(request.recipes, registry, noise=request.ablation_noise)
    plans = make_plans((*request.recipes, *added), registry, request.settings, dataset)
    if added:
        display.say(f"added for the ablation: {', '.join(added)}")
    display.say(describe(dataset, request.data))
    if request.executor != "local":  # nodes work in other folders than this process
        request = replace(request, runs=request.runs.absolute(), cache=request.cache.absolute())
        dataset, plans = absolute_dataset(dataset), tuple(map(absolute_plan, plans))
    clock.stop("start")
    divided = load_and_split(dataset, plans[0].settings, cache=request.cache, display=display)
    display.say("loading Keras…")
    check_before_decoding(request, plans, divided)
    clock.stop("prepare")
    needs = _needs(request, plans, dataset)
    with open_executor(request.executor, request.ray_address, needs, display) as executor:
        settling = partial(settle, images=len(divided.cohort), cache=request.cache)
        (plans,) = executor.compute(settling, [("settings", plans)])
        clock.stop("start")
        data = prepare_cohort(
            divided,
            preparation_for(plans),
            max_bad=plans[0].settings.max_bad,
            cache=request.cache,
            threads=executor.threads,
            display=display,
            images_in_order=executor.in_order,
        )
        clock.stop("prepare")
        runs = planned_runs(request, plans, data, executor, shared=clock.laps)
        paths = executor.compute(partial(measure_one, data=data, request=request), runs)
    if request.latency:
        settings = plans[0].settings
        with computing(settings):
            images = cohort_images(dataset, data.cohort, data.rows("test").tolist())
            time_all(paths, registry, images, settings.device, display)
    if request.saliency:
        saliency = partial(score_all, cache=request.cache, threads=request.thread_count)
        device = "cpu" if request.device == "cpu" else "auto"  # GPUs of a cluster are not here
        saliency(paths, request.data, registry, device=device, display=display)
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
