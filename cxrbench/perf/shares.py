"""How often a run walks each hot path, and so what share of its time goes there."""

from __future__ import annotations

from collections.abc import Mapping

from cxrbench.experiment.plans import Plan
from cxrbench.perf.hot_paths.arrays import REPLICATES as TIMED_REPLICATES
from cxrbench.perf.hot_paths.arrays import RESAMPLED
from cxrbench.perf.parts import extractor_text
from cxrbench.recipe_text import split_recipe
from cxrbench.runs.assessment import REPLICATES

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
    """The sizes that an image is wanted in, with and without CLAHE."""
    extractors = [feature.extractor.image_size for feature in plan.recipe.features]
    return len({plan.image_size, *extractors} - {None}) + int(plan.wants_clahe)


def shares(seconds: Mapping[str, float], walked: Mapping[str, float]) -> dict[str, float]:
    """Of the time of all paths: from seconds for an image (or a call), and `passes`."""
    spent = {path: seconds[path] * walked[path] for path in seconds}
    whole = sum(spent.values())
    return {path: one / whole if whole else 0.0 for path, one in spent.items()}
