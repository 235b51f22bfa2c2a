"""What is checked: a part with its parameters, where it comes from, and in which size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrbench.interfaces import Encoder
from cxrbench.parameters import build, parse_pairs
from cxrbench.recipe import parse_recipe
from cxrbench.registry import HOOKS, Plugin, Registry

IMAGE_SIZE = 64
"""Side in pixels of the images that networks are checked on, where none is given."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One part. ``encoders`` are those of a feature, each with its default parameters but the one
    that ``text`` names; ``image_size`` is the side of the images that networks are checked on.
    """

    kind: str
    text: str
    part: Any
    plugin: Plugin
    registry: Registry
    image_size: int
    encoders: Mapping[str, Encoder] = field(default_factory=dict)


def broken(name: str, registry: Registry) -> Plugin | None:
    """The plugin of this name if it is broken."""
    for plugin in registry.plugins:
        if plugin.name == name and plugin.error is not None:
            return plugin
    return None


def subjects(text: str, registry: Registry, image_size: int) -> tuple[Subject, ...]:
    """The parts of the plugin of this name, else the one part that ``text`` names.

    Raises
    ------
    RecipeError : there is neither.
    PluginError : the part's plugin is broken.
    """
    for plugin in registry.plugins:
        if plugin.name == text and plugin.error is None:
            named = [provided.split(" ", 1) for provided in plugin.provides]
            return tuple(_subject(kind, name, plugin, registry, image_size) for kind, name in named)
    kind, part = registry.find(text.partition(":")[0].lower(), HOOKS)
    (plugin,) = (p for p in registry.plugins if f"{kind} {part.name}" in p.provides)
    return (_subject(kind, text, plugin, registry, image_size),)


def _subject(kind: str, text: str, plugin: Plugin, registry: Registry, size: int) -> Subject:
    encoders: Mapping[str, Encoder] = {}
    part: Any
    if kind == "feature":
        (feature,) = parse_recipe(text, registry).features
        part = feature.extractor
        others = {name: encoder() for name, encoder in part.encodings.items()}
        encoders = {**others, feature.encoding: feature.encoder}
    elif kind == "backbone":
        part = parse_recipe(text, registry).backbone
    elif kind == "fusion":
        part = parse_recipe(f"orb@{text}", registry).fusion
    else:
        name, _, options = text.partition(":")
        part_class = registry.parts["dataset"][name.lower()]
        part = build(part_class, parse_pairs(options, name) if options else {}, name)
    return Subject(kind, text, part, plugin, registry, size, encoders)
