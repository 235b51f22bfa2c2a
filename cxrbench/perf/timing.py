"""Time each hot path separately: those of recipes, and those of installed parts for comparison."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from cxrbench.data.datasets import FALLBACK, describe, find_dataset, load_cohort
from cxrbench.errors import PluginError, SettingsError
from cxrbench.experiment.plans import Plan, make_plans
from cxrbench.interfaces import Dataset, Display
from cxrbench.modeling.backend import choose_device, unused_gpu
from cxrbench.parameters import changed, data_text, spelt
from cxrbench.perf.alone import PathFailed, Task, time_alone
from cxrbench.perf.hot_paths.arrays import REPLICATES as TIMED_REPLICATES
from cxrbench.perf.hot_paths.arrays import RESAMPLED
from cxrbench.perf.timed import PATH_FAMILIES, Candidate, TimedPart, TimedPath, TimedRecipe, Timing
from cxrbench.perf.workload import drawn_dataset, write_films
from cxrbench.recipe import Feature, parse_recipe
from cxrbench.recipe_text import part_name, split_recipe
from cxrbench.registry import Registry, load_registry
from cxrbench.runs.assessment import REPLICATES
from cxrbench.store.cache import cache_folder

DEFAULT_RECIPE = "resnet+orb+sift"
_SIZED = ("resize", "gather", "augment", "forward", "train-step", "predict")
_ANY = 224


def time_paths(
    recipes: Sequence[str] = (),
    *,
    data: str | None = None,
    cache: str | Path | None = None,
    threads: int | None = None,
    all_plugins: bool = False,
    display: Display,
    **settings: Any,
) -> Timing:
    """Time the hot paths of recipes, by default of `DEFAULT_RECIPE` and all installed parts.

    ``settings`` are some of `cxrbench.settings.Settings`.

    Raises
    ------
    CxrbenchError : for everything that the caller can mend. A path that fails is in the result.
    """
    registry = load_registry()
    named = find_dataset(data, registry, Path.cwd())
    dataset = drawn_dataset() if data is None and named.name == FALLBACK else named
    plans = _plans(recipes, registry, settings, dataset)
    display.say(describe(named, data))
    cohort = load_cohort(dataset, display, cache_folder(cache))
    everything = all_plugins or not recipes
    chosen = candidates(plans, registry, everything=everything)
    settings_used = plans[0].settings
    if settings_used.device == "auto" and (sentence := unused_gpu()):
        display.say(sentence)
    with tempfile.TemporaryDirectory(prefix="cxrbench-films-") as folder:
        write_films(dataset, cohort, Path(folder))
        films = len(list(Path(folder).iterdir()))
        common = Task(
            path="",
            films=folder,
            batch_size=cast("int", settings_used.batch_size),
            device=settings_used.device,
            threads=threads or len(os.sched_getaffinity(0)),
        )
        paths = [*_of_recipes(plans), *_of_parts(chosen, settings_used.image_size)]
        timed = _timed(paths, common, display)
    samples = [one.sample for one in timed.values() if one.sample is not None]
    return Timing(
        data=data_text(dataset),
        films=films,
        device=next((one.device for one in samples if one.device), None),
        backend=next((one.backend for one in samples if one.backend), None),
        recipes=tuple(_recipe(plan, timed) for plan in plans),
        parts=tuple(
            TimedPart(part, timed[one])
            for part, one in zip(chosen, _of_parts(chosen, settings_used.image_size), strict=True)
        ),
        broken=registry.broken if everything else (),
    )


def require_sound(timing: Timing) -> None:
    """Raise `PluginError` where a path of a recipe could not be timed."""
    failed = {p.path: p.error for recipe in timing.recipes for p in recipe.paths if p.error}
    if failed:
        raise PluginError(
            f"hot paths of the recipes cannot be timed: {', '.join(failed)}",
            expected="paths that can be set up and called on images",
            found="; ".join(dict.fromkeys(map(str, failed.values()))),
            fix="check the part with `cxrbench plugins check`, leave it out of the recipes, or "
            "choose a smaller --image-size or --batch-size",
        )


@dataclass(frozen=True)
class _SizedPath:
    path: str
    image_size: int


def _plans(
    recipes: Sequence[str], registry: Registry, settings: Mapping[str, Any], dataset: Dataset
) -> tuple[Plan, ...]:
    texts = recipes or (DEFAULT_RECIPE,)
    named = {parse_recipe(text, registry).text for text in texts}
    plans = make_plans(texts, registry, settings, dataset)
    if plans[0].settings.batch_size == "auto":
        raise SettingsError(
            "--batch-size auto cannot be used here",
            expected="images per batch, such as 32",
            found="auto",
            fix="give a number; `cxrbench run --batch-size auto` finds one for a recipe",
        )
    if plans[0].settings.device == "gpu":
        choose_device("gpu")  # raises where there is none, before anything is timed
    return tuple(plan for plan in plans if plan.recipe.text in named)


def _of_recipes(plans: Sequence[Plan]) -> list[_SizedPath]:
    return [_SizedPath(path, _size(path, plan)) for plan in plans for path in passes(plan)]


def _of_parts(parts: Sequence[Candidate], image_size: int | None) -> list[_SizedPath]:
    return [
        _SizedPath(one.path, (image_size or one.image_size or _ANY) if one.is_backbone else _ANY)
        for one in parts
    ]


def _size(path: str, plan: Plan) -> int:
    """The side that a path is timed at: where it does not matter, the same in all recipes."""
    return (plan.image_size or _ANY) if path.partition("/")[0] in _SIZED else _ANY


def _timed(
    paths: Sequence[_SizedPath], common: Task, display: Display
) -> dict[_SizedPath, TimedPath]:
    timed = {}
    unique = list(dict.fromkeys(paths))
    with display.task("timing", len(unique)) as advance:
        for one in unique:
            advance(0, one.path)
            timed[one] = _one(replace(common, path=one.path, image_size=one.image_size))
            advance(1)
    return timed


def _one(task: Task) -> TimedPath:
    try:
        return TimedPath(task.path, task.image_size, time_alone(task))
    except PathFailed as failure:
        return TimedPath(task.path, task.image_size, None, failure.problem)


def _recipe(plan: Plan, timed: Mapping[_SizedPath, TimedPath]) -> TimedRecipe:
    walked = passes(plan)
    paths = [timed[_SizedPath(path, _size(path, plan))] for path in walked]
    seconds = {one.path: each for one in paths if (each := one.seconds_each) is not None}
    of_run = shares(seconds, walked) if len(seconds) == len(paths) else {}
    return TimedRecipe(
        recipe=plan.recipe.text,
        image_size=plan.image_size,
        batch_size=cast("int", plan.settings.batch_size),
        epochs=plan.settings.epochs,
        paths=tuple(
            replace(one, share=of_run.get(one.path) if walked[one.path] else None) for one in paths
        ),
    )


def candidates(
    plans: Sequence[Plan], registry: Registry, *, everything: bool
) -> tuple[Candidate, ...]:
    """Extractors, then backbones: those of the plans first, each once."""
    texts = [(kind, text) for plan in plans for kind, text in _parts_of(plan)]
    if everything:
        texts += [(kind, name) for kind in PATH_FAMILIES for name in registry.names(kind)]
    ordered = sorted(dict.fromkeys(texts), key=lambda one: one[0] == "backbone")
    return tuple(_candidate(kind, text, registry) for kind, text in ordered)


def extractor_text(feature: Feature) -> str:
    """Without the parameters of its encoding, on which extracting does not depend."""
    return spelt(feature.name, changed(feature.extractor))


def _parts_of(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.recipe.backbone is not None:
        yield "backbone", split_recipe(plan.recipe.unpermuted.text).parts[0]
    for feature in plan.recipe.unpermuted.features:
        yield "feature", extractor_text(feature)


def _candidate(kind: str, text: str, registry: Registry) -> Candidate:
    name = part_name(text)
    _, part = registry.find(name, (kind,))
    plugin = next(one for one in registry.plugins if f"{kind} {name}" in one.provides)
    size = getattr(part, "image_size", None)
    return Candidate(kind, text, size, plugin.package, plugin.version)


KINDS = ("rotation", "translation", "zoom", "brightness", "contrast", "noise")
"""The variations of `Augmentation` that are made inside the model."""


def passes(plan: Plan) -> dict[str, float]:
    """The hot paths of a first run with this plan, and how often an image goes through each.

    That is a mean over the images of a cohort: each is decoded once, and 0.7 of them are trained
    on in every one of the epochs. ``bootstrap`` is in calls. Of a path that is part of another one,
    such as one kind of augmentation, there is 0.
    """
    train, val, test = plan.settings.fractions
    bootstrap = {"bootstrap": test / RESAMPLED * REPLICATES / TIMED_REPLICATES}
    if plan.recipe.is_prior:
        return bootstrap
    epochs, text = plan.settings.epochs, plan.recipe.unpermuted.text
    features = plan.recipe.unpermuted.features
    return {
        "decode": 1.0,
        "resize": float(_resized(plan)),
        **({} if plan.recipe.backbone is None else {"clahe": float(_equalised(plan))}),
        **{f"extract/{extractor_text(feature)}": 1.0 for feature in features},
        **{f"encode/{feature.text}": 1.0 for feature in features},
        **_of_pixels(plan, train * epochs),
        f"train-step/{text}": train * epochs,
        f"predict/{text}": val * (epochs + 1) + test,
        **bootstrap,
    }


def _of_pixels(plan: Plan, trained: float) -> dict[str, float]:
    """What there is where a backbone is trained on pixels."""
    if plan.recipe.backbone is None:
        return {}
    backbone = split_recipe(plan.recipe.unpermuted.text).parts[0]
    return {
        "gather": trained,
        **{f"augment/{kind}": 0.0 for kind in KINDS},
        "augment/medical": trained if plan.settings.augmentation.changes_images else 0.0,
        f"forward/{backbone}": 0.0,
    }


def _equalised(plan: Plan) -> bool:
    return plan.settings.clahe or plan.wants_clahe


def _resized(plan: Plan) -> int:
    """How many sizes of an image are needed, with and without CLAHE."""
    extractors = [feature.extractor.image_size for feature in plan.recipe.features]
    return len({plan.image_size, *extractors} - {None}) + int(plan.wants_clahe)


def shares(seconds: Mapping[str, float], walked: Mapping[str, float]) -> dict[str, float]:
    """Of the time of all paths: from seconds for an image (or a call), and `passes`."""
    spent = {path: seconds[path] * walked[path] for path in seconds}
    whole = sum(spent.values())
    return {path: one / whole if whole else 0.0 for path, one in spent.items()}
