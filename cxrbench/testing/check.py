"""A check of a part, and its result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import SkipTest

from cxrbench.errors import CxrbenchError, PluginError
from cxrbench.interfaces import Encoder
from cxrbench.parameters import build, parse_pairs
from cxrbench.recipe import parse_recipe
from cxrbench.registry import HOOKS, Plugin, Registry

_FIX = "run the check with pytest to see the whole traceback"


class NotChecked(SkipTest):
    """The check cannot be made here, for the reason given; pytest counts it as skipped."""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    ``state`` is ``"ok"``, ``"failed"`` or ``"skipped"``; ``told`` is a measured value, the error
    with its remedy, or why the check was skipped.
    """

    kind: str
    part: str
    check: str
    state: str
    seconds: float
    told: str


@dataclass(frozen=True)
class Check:
    """One promise of one part. Call it: it raises `PluginError` if the promise is not kept.

    ``ask`` returns a text for the result, or an empty one.
    """

    kind: str
    part: str
    name: str
    ask: Callable[[], str]

    def __str__(self) -> str:
        return f"{self.part}-{self.name}"

    def __call__(self) -> str:
        """Check, and return a text for the result.

        Raises
        ------
        PluginError : the promise is not kept: what was expected, what came, and what to do.
        unittest.SkipTest : it cannot be checked here; pytest understands it.
        """
        try:
            return self.ask()
        except NotChecked:
            raise
        except PluginError as error:
            advice, hint, _ = (error.fix or "").partition("; `cxrbench plugins check")
            if not hint:
                raise
            # That is the command which runs this check.
            raise PluginError(
                error.problem, expected=error.expected, found=error.found, fix=advice
            ) from error
        except CxrbenchError as error:
            raise PluginError(
                f"{self.part}: {error.problem}",
                expected=error.expected or "no error",
                found=error.found or "this error",
                fix=error.fix or _FIX,
            ) from error
        except Exception as error:  # a plugin's code: it may raise anything
            raise PluginError(
                f"{self.part} failed in the check {self.name!r}",
                expected="no exception",
                found=_described(error),
                fix=_FIX,
            ) from error

    def result(self) -> CheckResult:
        """As calling it, without raising."""
        start = time.perf_counter()
        try:
            state, text = "ok", self()
        except NotChecked as reason:
            state, text = "skipped", str(reason)
        except PluginError as error:
            state, text = "failed", str(error)
        seconds = time.perf_counter() - start
        return CheckResult(self.kind, self.part, self.name, state, seconds, text)


def _described(error: Exception) -> str:
    words = " ".join(str(error).split())
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {words} ({place.filename}, line {place.lineno})"


IMAGE_SIZE = 64
"""Default side in pixels of the images that networks are checked on."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One part. ``encoders`` are those of a feature: the one that ``text`` names, and the others
    with default parameters. ``image_size`` is the side of the images for networks.
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
