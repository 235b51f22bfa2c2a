"""Plans: each recipe with all settings under which it is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from cxrbench.errors import SettingsError
from cxrbench.interfaces import Dataset
from cxrbench.parameters import data_text, nearest
from cxrbench.recipe import PRIOR, Recipe, parse_recipe
from cxrbench.recipe_text import ablated
from cxrbench.registry import Registry
from cxrbench.settings import AUGMENTATION_OPTIONS, Settings, resolve_settings, split_weights
from cxrbench.store.image_pass import Preparation

# What a recipe without a backbone does not take from the options of a grid.
_ALONE: Mapping[str, Any] = MappingProxyType(
    {"protocol": "probe", "augment": "none", **dict.fromkeys(AUGMENTATION_OPTIONS)}
)


@dataclass(frozen=True)
class Plan:
    """A recipe with the settings that it is measured under."""

    recipe: Recipe
    settings: Settings

    def with_settings(self, **changes: Any) -> Plan:
        """The plan with some settings changed."""
        return replace(self, settings=replace(self.settings, **changes))

    @property
    def image_size(self) -> int | None:
        """The side in pixels of what the backbone sees; None without a backbone."""
        if self.recipe.backbone is None:
            return None
        return self.settings.image_size or self.recipe.backbone.image_size

    @property
    def wants_clahe(self) -> bool:
        """Whether some training images are taken with CLAHE."""
        return self.settings.protocol == "finetune" and self.settings.clahe_share > 0


def make_plans(
    recipes: Sequence[str], registry: Registry, options: Mapping[str, Any], dataset: Dataset
) -> tuple[Plan, ...]:
    """Each recipe once, ``prior`` last, with its settings; a wrong one stops all of them."""
    if not recipes:
        raise SettingsError("no recipe was given", expected="at least one, such as resnet+orb")
    parsed = [parse_recipe(text, registry) for text in (*recipes, PRIOR)]
    unique = {recipe.text: recipe for recipe in parsed if not recipe.is_prior}
    unique[PRIOR] = parsed[-1]
    named = _with_names(options, registry)
    resolve_settings(named, dataset.defaults)  # also what no recipe of this call will use
    plans = []
    for recipe in unique.values():
        # Without a backbone nothing but the head trains, whatever the protocol is called.
        own = {**named, **_ALONE} if recipe.backbone is None else named
        settings = resolve_settings(own, dataset.defaults)
        plans.append(Plan(recipe, replace(settings, head=_head(recipe, settings))))
    _check_weights(plans)
    return tuple(plans)


def _head(recipe: Recipe, settings: Settings) -> Literal["linear", "mlp"]:
    """The head in place of ``auto``; refuses one that does not suit the recipe."""
    frozen = recipe.backbone is None or settings.protocol == "probe"
    fixed = recipe.is_prior or (frozen and recipe.linear_head != "none")
    if settings.head == "linear" and not fixed:
        trained = "the fusion trains too" if frozen else "the backbone trains too"
        raise SettingsError(
            f"--head linear does not work for {recipe.text}: {trained}",
            expected="--protocol probe, or no backbone, and the fusion concat without parameters, "
            "or late",
            fix="leave out --head, or use --head mlp",
        )
    if recipe.linear_head == "late" and (settings.head == "mlp" or not frozen):
        raise SettingsError(
            f"{recipe.text} needs the head linear, one for each part",
            expected="--protocol probe, or no backbone, and no --head mlp",
            found=f"--protocol {settings.protocol} --head {settings.head}",
            fix="use --protocol probe without --head, or the fusion concat",
        )
    if settings.head == "auto":
        return "linear" if fixed and settings.protocol == "probe" else "mlp"
    return settings.head


def absolute_plan(plan: Plan) -> Plan:
    """The same plan from any folder: absolute paths of lists, and of the weights that it uses."""
    backbone = plan.recipe.backbone
    names = (None, None if backbone is None else backbone.name)
    texts = [_absolute(text) for text in plan.settings.weights if split_weights(text)[0] in names]
    kind, colon, folder = plan.settings.split.partition(":")
    split = f"{kind}:{Path(folder).expanduser().absolute()}" if colon else kind
    return plan.with_settings(weights=tuple(texts) or ("none",), split=split)


def _absolute(text: str) -> str:
    backbone, value = split_weights(text)
    if value not in ("imagenet", "none"):
        value = str(Path(value).expanduser().absolute())
    return value if backbone is None else f"{backbone}={value}"


def options_to_repeat(plan: Plan, seed: int, dataset: Dataset) -> dict[str, Any]:
    """The options that repeat one run from any folder, with values in place of ``auto``."""
    settings = absolute_plan(plan).settings.as_dict()
    return {"recipes": [plan.recipe.text], "data": data_text(dataset), "seed": seed, **settings}


def ablation_recipes(
    recipes: Sequence[str], registry: Registry, *, noise: bool = False
) -> tuple[str, ...]:
    """The recipes that the ablation of these needs and that are not among them.

    Raises
    ------
    SettingsError : every recipe has one part only, or is a control itself.
    """
    texts = [parse_recipe(text, registry).text for text in recipes]
    added = [other for text in texts for other in ablated(text, noise=noise)]
    others = [parse_recipe(other, registry).text for other in added]
    if texts and not others:
        raise SettingsError(
            "--ablation has no part to leave out",
            expected="a recipe of two parts or more, none of them permuted or noise, such as "
            "resnet+orb",
            found=", ".join(texts),
        )
    return tuple(dict.fromkeys(text for text in others if text not in texts))


def preparation_for(plans: Sequence[Plan]) -> Preparation:
    """What all the plans want of each image."""
    settings = plans[0].settings  # what shapes the pixels is the same in all plans of a command
    extractors = {feature.extractor for plan in plans for feature in plan.recipe.features}
    return Preparation(
        image_sizes=_sizes(plans),
        clahe_sizes=_sizes(plan for plan in plans if plan.wants_clahe),
        extractors=tuple(sorted(extractors, key=repr)),
        fit=settings.fit,
        clahe=settings.clahe,
        max_pixels=settings.max_pixels,
    )


def _sizes(plans: Iterable[Plan]) -> tuple[int, ...]:
    return tuple(sorted({plan.image_size for plan in plans if plan.image_size is not None}))


def _with_names(options: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """``--weights resnet=FILE`` means the backbone that ``resnet`` is an alias of."""
    values = options.get("weights")
    if not isinstance(values, str | Path | list | tuple):
        return dict(options)
    weights = []
    for text in map(str, (values,) if isinstance(values, str | Path) else values):
        name, value = split_weights(text)
        part = registry.parts["backbone"].get(name or "")
        weights.append(text if part is None else f"{part.name}={value}")
    return {**options, "weights": tuple(weights)}


def _check_weights(plans: Sequence[Plan]) -> None:
    named = {plan.recipe.backbone.name for plan in plans if plan.recipe.backbone is not None}
    for text in plans[0].settings.weights:
        backbone, value = split_weights(text)
        if backbone is not None and backbone not in named:
            raise SettingsError(
                f"--weights {text} names a backbone that no recipe uses",
                expected=" or ".join(sorted(named)) or "a recipe with a backbone",
                found=repr(backbone),
                fix=nearest(backbone, named) or None,
            )
        if value not in ("imagenet", "none") and not Path(value).expanduser().is_file():
            raise SettingsError(
                f"--weights {text}: there is no such file",
                expected="imagenet, none, FILE or BACKBONE=FILE",
                found=repr(value),
                fix=nearest(value, ("imagenet", "none")) or "check the path",
            )
    given = {split_weights(text)[0] for text in plans[0].settings.weights}
    if (others := sorted(named - given)) and None not in given:
        raise SettingsError(
            f"--weights gives none for {', '.join(others)}",
            expected="weights for every backbone of the recipes",
            found=f"--weights {' '.join(plans[0].settings.weights)}",
            fix="add --weights imagenet, or --weights none for random ones",
        )


def standardises_image(recipe: Recipe, settings: Settings) -> bool:
    """Whether the output of a frozen backbone is standardised before the head ``mlp``.

    The linear head standardises all columns by itself.
    """
    frozen = recipe.backbone is not None and settings.protocol == "probe"
    return frozen and settings.head == "mlp"


def keeps_activations(recipe: Recipe, settings: Settings) -> bool:
    """Whether an image has the same activation in every epoch, and the cache may store it."""
    return (
        recipe.backbone is not None
        and settings.activations == "cache"
        and settings.weights_for(recipe.backbone.name) is not None
        and not settings.augmentation.changes_images
    )
