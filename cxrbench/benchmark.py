"""The only orchestrator: from recipes and data to run directories and their board."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from cxrbench.conditions import checkpoint_key, run_conditions
from cxrbench.config import CONFIG_FILE, write_config
from cxrbench.datasets import describe, find_dataset
from cxrbench.errors import SettingsError
from cxrbench.evaluation.leaderboard import Board, as_json, boards
from cxrbench.experiment import Outcome, fit_and_predict, predict_prior
from cxrbench.interfaces import Display
from cxrbench.material import Material, gather_material
from cxrbench.modeling.checkpoint import FOLDER as CHECKPOINT
from cxrbench.modeling.checkpoint import Checkpoints
from cxrbench.planning import (
    Plan,
    check_backbones,
    computing,
    make_plans,
    preparation_for,
    with_batch_size,
    with_devices,
    with_engines,
)
from cxrbench.record import record
from cxrbench.registry import load_registry
from cxrbench.reporting.display import SilentDisplay
from cxrbench.runs import begin, finish, is_complete, read_run, run_path, writing


@dataclass(frozen=True)
class Request:
    """What to measure, where to keep it, and how; `run` documents the fields."""

    recipes: tuple[str, ...]
    data: str | None
    runs: Path
    cache: Path
    threads: int
    seeds: tuple[int, ...]
    force: bool
    options: Mapping[str, Any]


def run(  # noqa: PLR0913 - the public call; every argument but the first is a keyword
    recipes: str | Sequence[str],
    *,
    data: str | Path | None = None,
    runs: str | Path = "runs",
    cache: str | Path | None = None,
    threads: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    force: bool = False,
    display: Display | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Build, train and score each recipe on one split, and return the board.

    Parameters
    ----------
    recipes : one text such as ``"resnet+orb"``, or several; ``prior`` is added by itself.
    data : a path, or a dataset's name with options; by default the current folder if it holds a
        cohort, else ``phantom``.
    runs : the folder of the run directories.
    cache : the folder of the stores; by default ``CXRBENCH_CACHE`` or the user's cache folder.
    threads : threads that read images; by default one for each core.
    seed, seeds : the first seed, and how many.
    force : measure again what is complete.
    display : where progress goes; by default nowhere.
    **settings : the fields of `cxrbench.settings.Settings`.

    Returns
    -------
    What ``cxrbench run --json`` prints: ``{"boards": [{"conditions": …, "rows": [{…}]}], …}``.

    Raises
    ------
    CxrbenchError : for everything that the caller can mend.
    """
    asked = request(
        recipes,
        data=data,
        runs=runs,
        cache=cache,
        threads=threads,
        seed=seed,
        seeds=seeds,
        force=force,
        **settings,
    )
    plain: dict[str, Any] = as_json(measure(asked, display or SilentDisplay()), (), per_label=True)
    return plain


def request(  # noqa: PLR0913 - as `run`
    recipes: str | Sequence[str],
    *,
    data: str | Path | None = None,
    runs: str | Path = "runs",
    cache: str | Path | None = None,
    threads: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    force: bool = False,
    **settings: Any,
) -> Request:
    """The arguments of `run`, checked and with their defaults filled in."""
    return Request(
        recipes=(recipes,) if isinstance(recipes, str) else tuple(recipes),
        data=None if data is None else str(data),
        runs=Path(runs),
        cache=cache_folder(cache),
        threads=thread_count(threads),
        seeds=_seeds(seed, seeds),
        force=force,
        options=settings,
    )


def measure(request: Request, display: Display) -> tuple[Board, ...]:
    """Do what a request asks for; the boards of its runs and no others."""
    registry = load_registry()
    dataset = find_dataset(request.data, registry, Path.cwd())
    plans = make_plans(request.recipes, registry, request.options, dataset)
    display.say(describe(dataset, request.data))
    plans = with_devices(plans)
    with computing(plans[0].settings):
        check_backbones(plans)
    material = gather_material(
        dataset,
        plans[0].settings,
        preparation_for(plans),
        cache=request.cache,
        threads=request.threads,
        display=display,
    )
    images = len(material.cohort)
    with computing(plans[0].settings):
        plans = with_engines(plans, images, cache=request.cache, display=display)
    paths = []
    for plan in plans:
        with computing(plan.settings):
            settled = with_batch_size(plan, material, cache=request.cache, display=display)
        for seed in request.seeds[:1] if plan.recipe.is_prior else request.seeds:
            with computing(settled.settings):
                paths.append(_run_one(settled, seed, material, request, display))
    return boards(read_run(path) for path in paths)


def cache_folder(given: str | Path | None) -> Path:
    """``given``, else ``CXRBENCH_CACHE``, else the user's cache folder."""
    from platformdirs import user_cache_dir

    chosen = given or os.environ.get("CXRBENCH_CACHE") or user_cache_dir("cxrbench")
    return Path(chosen).expanduser()


def thread_count(given: int | None) -> int:
    """``given``, else one thread for each core that this process may use."""
    if given is None:
        return len(os.sched_getaffinity(0))
    if given < 1:
        raise SettingsError(
            f"--threads cannot be {given}", expected="a whole number from 1 up", found=str(given)
        )
    return given


def _seeds(first: int, count: int) -> tuple[int, ...]:
    if first < 0 or count < 1:
        raise SettingsError(
            "the seeds cannot work",
            expected="--seed from 0 up, --seeds from 1 up",
            found=f"--seed {first} --seeds {count}",
        )
    return tuple(range(first, first + count))


def _run_one(
    plan: Plan,
    seed: int,
    material: Material,
    request: Request,
    display: Display,
) -> Path:
    conditions = run_conditions(plan.recipe, plan.settings, seed, material)
    path = run_path(
        request.runs,
        dataset=material.dataset.name,
        recipe=plan.recipe.text,
        protocol=conditions["protocol"],
        seed=seed,
        key=conditions["run_key"],
    )
    with ExitStack() as held:
        with writing(request.runs):
            request.runs.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(request.runs / f".{path.name}.lock"))
        if is_complete(path) and not request.force:
            display.say(f"{plan.recipe.text} (seed {seed}): complete already, used as it is")
            return path
        display.say(f"{plan.recipe.text} (seed {seed}) in {path}")
        info = {**conditions, "started": _now()}
        with writing(path):
            begin(path, info, keep=None if request.force else CHECKPOINT)
            write_config(path / CONFIG_FILE, plan, seed, material.dataset)
        checkpoints = Checkpoints(path, checkpoint_key(conditions))
        outcome = _outcome(plan, seed, material, request.cache, checkpoints, display)
        with writing(path):
            record(outcome, material, path)
            finish(path, {**info, "finished": _now(), **_cost(outcome)}, remove=CHECKPOINT)
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
        "seconds": dict(outcome.seconds),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
