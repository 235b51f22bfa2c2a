"""Load plugins, isolate the broken ones, find parts by name."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

import pluggy

from cxrbench import hookspecs
from cxrbench.errors import PluginError, RecipeError, error_text, failing_code
from cxrbench.interfaces import (
    API_VERSION,
    Backbone,
    Dataset,
    Encoder,
    FeatureExtractor,
    Fusion,
    Part,
)
from cxrbench.parameters import advice_on_part, field_types, nearest
from cxrbench.recipe_text import PERMUTED

GROUP = "cxrbench"
CHOICE = "CXRBENCH_PLUGINS"
"""The environment variable that chooses among the installed plugins."""
HOOKS: Mapping[str, tuple[str, type[Part]]] = MappingProxyType(
    {
        "backbone": ("cxrbench_backbones", Backbone),
        "feature": ("cxrbench_feature_extractors", FeatureExtractor),
        "fusion": ("cxrbench_fusions", Fusion),
        "dataset": ("cxrbench_datasets", Dataset),
    }
)
_HOOK_NAMES = tuple(hook for hook, _ in HOOKS.values())
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_REQUIRED = {"backbone": ("image_size", "freeze_at"), "feature": ("image_size", "encodings")}


@dataclass(frozen=True)
class Plugin:
    """One installed plugin: what it is, what it provides, and why it is broken if it is.

    ``fix`` says what to do about the ``error``, where that does not say it itself.
    """

    name: str
    module: str
    package: str
    version: str
    provides: tuple[str, ...] = ()
    error: str | None = None
    fix: str = ""

    @property
    def state(self) -> str:
        return "ok" if self.error is None else "broken"


@dataclass(frozen=True)
class Registry:
    """All parts that can be named, by kind and by name or alias, and all plugins."""

    parts: Mapping[str, Mapping[str, type[Part]]]
    plugins: tuple[Plugin, ...]

    def find(self, name: str, kinds: Collection[str]) -> tuple[str, type[Part]]:
        """The kind and class of the part with this name or alias.

        Raises
        ------
        PluginError : only a broken plugin of this name is installed.
        RecipeError : there is none; the message says what exists and what is nearest.
        """
        for kind in kinds:
            if name in self.parts[kind]:
                return kind, self.parts[kind][name]
        for plugin in self.broken:
            if plugin.name == name:
                raise broken_error(plugin)
        names = ", ".join(plugin.name for plugin in self.broken)
        advice = (
            advice_on_part(name, kinds, self.parts),
            f"(Installed and broken: {names})" if names else "",
        )
        raise RecipeError(
            f"there is no {' or '.join(kinds)} named {name!r}",
            expected="; ".join(f"{kind}: {', '.join(self.names(kind))}" for kind in kinds),
            found=repr(name),
            fix=" ".join(filter(None, advice)),
        )

    @property
    def broken(self) -> tuple[Plugin, ...]:
        """The plugins that could not be loaded."""
        return tuple(plugin for plugin in self.plugins if plugin.error is not None)

    def names(self, kind: str) -> list[str]:
        """The names of all parts of one kind, without aliases."""
        return sorted({part.name for part in self.parts[kind].values()})


def broken_error(plugin: Plugin) -> PluginError:
    """The error for a command that names a broken plugin."""
    return PluginError(
        f"the plugin {plugin.name!r} is installed and broken",
        found=plugin.error,
        fix=plugin.fix or None,
    )


def require_sound(registry: Registry) -> None:
    """Raise `PluginError` with every broken plugin's error, if there is one."""
    if registry.broken:
        raise PluginError(
            f"{len(registry.broken)} of {len(registry.plugins)} plugins are broken",
            expected="none, because of --strict-plugins",
            found="; ".join(f"{plugin.name}: {plugin.error}" for plugin in registry.broken),
            fix="see `cxrbench plugins doctor`",
        )


def load_registry(plugins: Iterable[EntryPoint] | None = None) -> Registry:
    """Load every plugin of the entry point group ``cxrbench``; broken ones are listed, not raised.

    ``plugins`` replace the installed entry points (tests). cxrbench's own come first, so that no
    other plugin can take the name of a built-in part. With ``CXRBENCH_PLUGINS=a,b`` in the
    environment, of the installed ones only cxrbench's own and these are loaded.

    Raises
    ------
    PluginError : ``CXRBENCH_PLUGINS`` names a plugin that is not installed.
    """
    parts: dict[str, dict[str, type[Part]]] = {kind: {} for kind in HOOKS}
    loaded = []
    for entry_point in _ordered(_installed() if plugins is None else plugins):
        plugin, provided = _load(entry_point, parts)
        loaded.append(plugin)
        for kind, part in provided:
            parts[kind] |= dict.fromkeys((part.name, *part.aliases), part)
    return Registry(MappingProxyType(parts), tuple(loaded))


def _installed() -> list[EntryPoint]:
    installed = list(entry_points(group=GROUP))
    text = os.environ.get(CHOICE)
    if text is None:
        return installed
    names = {name.strip() for name in text.split(",")} - {""}
    available = {entry_point.name for entry_point in installed}
    if unknown := sorted(names - available):
        raise PluginError(
            f"{CHOICE} names plugins that are not installed",
            expected=f"names of `cxrbench plugins list`: {', '.join(sorted(available))}",
            found=", ".join(unknown),
            fix=nearest(unknown[0], available) or f"install them, or change {CHOICE}",
        )
    return [ep for ep in installed if ep.name in names or _package(ep) == "cxrbench"]


def _ordered(plugins: Iterable[EntryPoint]) -> list[EntryPoint]:
    # The same distribution can be on the path twice (an editable install beside its metadata).
    unique = {(_package(ep), ep.name, ep.value): ep for ep in plugins}
    return [unique[key] for key in sorted(unique, key=lambda key: (key[0] != "cxrbench", key))]


def _package(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else ""


def _load(
    entry_point: EntryPoint, others: Mapping[str, Mapping[str, type[Part]]]
) -> tuple[Plugin, list[tuple[str, type[Part]]]]:
    error, fix, provided = None, "", []
    # A plugin is a stranger's code: whatever it raises, an exit included, is its own failure, and
    # what it prints is not part of a result on standard output.
    try:
        with redirect_stdout(sys.stderr):
            provided = _provided(entry_point.load())
            _check_free(provided, others)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        error = error_text(failure).removeprefix("PluginError: ") + failing_code(failure)
        fix, provided = _fix(failure, entry_point), []
    plugin = Plugin(
        name=entry_point.name,
        module=entry_point.value,
        package=_package(entry_point),
        version=entry_point.dist.version if entry_point.dist is not None else "",
        provides=tuple(f"{kind} {part.name}" for kind, part in provided),
        error=error,
        fix=fix,
    )
    return plugin, provided


def _fix(failure: BaseException, entry_point: EntryPoint) -> str:
    """What to do, if the failure does not say it itself."""
    if issubclass(type(failure), PluginError) and getattr(failure, "fix", None) is not None:
        return ""
    url = entry_point.dist.read_text("direct_url.json") if entry_point.dist is not None else None
    with suppress(LookupError, TypeError, ValueError):  # not by pip, or not as it writes it
        if json.loads(url or "{}")["dir_info"]["editable"]:  # by its author
            module, name = entry_point.module, entry_point.name
            return f"correct {module} and run `cxrbench plugins check {name}`"
    upgrade = "pip install --upgrade " + (_package(entry_point) or "the plugin's package")
    if type(failure) is ModuleNotFoundError:
        return (
            f"{upgrade}, which brings what it needs; "
            f"if {failure.name!r} is still missing, tell its author"
        )
    return f"{upgrade}; if that does not help, tell its author or uninstall it"


def _provided(module: Any) -> list[tuple[str, type[Part]]]:
    if (declared := getattr(module, "CXRBENCH_API", None)) != API_VERSION:
        raise PluginError(
            "the plugin was written for another API version",
            expected=f"CXRBENCH_API = {API_VERSION} in the plugin's module",
            found="no CXRBENCH_API" if declared is None else f"CXRBENCH_API = {declared!r}",
            fix="install a version of the plugin for this cxrbench",
        )
    # One manager for each plugin: a hook that is misspelt or raises touches no other plugin.
    manager = pluggy.PluginManager("cxrbench")
    manager.add_hookspecs(hookspecs)
    _check_markers(module, manager)
    manager.register(module)
    provided: list[tuple[str, type[Part]]] = []
    for kind, (hook, base) in HOOKS.items():
        for parts in getattr(manager.hook, hook)():
            if not isinstance(parts, list | tuple):
                raise PluginError(
                    f"{hook} returned {parts!r}", expected="a list of classes, such as [MyPart]"
                )
            for part in parts:
                _check_part(kind, part, base)
                provided.append((kind, part))
    if not provided:
        raise PluginError(
            "the plugin provides nothing",
            expected=f"a function marked @hookimpl named {', '.join(_HOOK_NAMES)}",
        )
    return provided


def _check_markers(module: Any, manager: pluggy.PluginManager) -> None:
    for name, function in inspect.getmembers(module, callable):
        marked = manager.parse_hookimpl_opts(module, name) is not None
        if marked and name not in _HOOK_NAMES:
            raise PluginError(
                f"there is no hook {name!r}",
                expected=", ".join(_HOOK_NAMES),
                fix=nearest(name, _HOOK_NAMES) or None,
            )
        if name in _HOOK_NAMES and not marked and inspect.isfunction(function):
            raise PluginError(f"{name} is not marked as a hook", fix="put @hookimpl above it")


def _check_part(kind: str, part: Any, base: type[Part]) -> None:
    if not (isinstance(part, type) and issubclass(part, base)):
        raise PluginError(
            f"a {kind} hook returned {part!r}",
            expected=f"classes that derive from cxrbench.{base.__name__}",
        )
    for attribute in ("name", *_REQUIRED.get(kind, ())):
        if not hasattr(part, attribute):
            raise PluginError(f"{part.__qualname__} does not set {attribute!r}")
    _check_names(part)
    if inspect.isabstract(part):
        missing = ", ".join(sorted(part.__abstractmethods__))
        raise PluginError(f"{part.__qualname__} does not define {missing}")
    parameters = field_types(part)
    if issubclass(part, Backbone | FeatureExtractor) and PERMUTED in parameters:
        raise PluginError(
            f"{part.__qualname__} has the parameter {PERMUTED!r}",
            expected="another name: every backbone and feature has this one by itself",
        )
    if issubclass(part, Backbone):
        for attribute, proper in (("image_size", int), ("freeze_at", str)):
            if not isinstance(getattr(part, attribute), proper):
                raise PluginError(
                    f"{part.__qualname__}.{attribute} is {getattr(part, attribute)!r}",
                    expected="the side of its images in pixels, and the name of a layer",
                )
    if issubclass(part, FeatureExtractor):
        _check_encodings(part, {*parameters, "encoding", PERMUTED})


def _check_names(part: type[Part]) -> None:
    if not isinstance(part.aliases, tuple):
        raise PluginError(
            f"{part.__qualname__} has the aliases {part.aliases!r}",
            expected='a tuple of names, such as ("resnet",)',
        )
    for name in (part.name, *part.aliases):
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "prior":
            raise PluginError(
                f"{part.__qualname__} has the name {name!r}",
                expected="small letters, digits and _, first a letter; 'prior' is taken",
            )


def _check_encodings(part: type[FeatureExtractor], parameters: set[str]) -> None:
    encodings = part.encodings
    if not isinstance(encodings, Mapping) or not encodings:
        raise PluginError(
            f"{part.__qualname__}.encodings is {encodings!r}",
            expected='names and encoders, such as {"bow": BagOfWords, "vlad": VLAD}',
        )
    for name, encoder in encodings.items():
        if not (isinstance(encoder, type) and issubclass(encoder, Encoder)):
            raise PluginError(
                f"{part.__qualname__} has the encoding {name!r}: {encoder!r}",
                expected="a class that derives from cxrbench.Encoder",
            )
        if shared := parameters & set(field_types(encoder)):
            raise PluginError(
                f"{part.__qualname__} and its encoder {encoder.__qualname__} share parameters",
                expected="different names, since a recipe gives both beside each other",
                found=", ".join(sorted(shared)),
            )


def _check_free(
    provided: list[tuple[str, type[Part]]], others: Mapping[str, Mapping[str, type[Part]]]
) -> None:
    own = set[tuple[tuple[str, ...], str]]()
    for kind, part in provided:
        # Backbones and features share a recipe's names, so that 'resnet+orb' is never ambiguous.
        rivals = ("backbone", "feature") if kind in ("backbone", "feature") else (kind,)
        for name in (part.name, *part.aliases):
            for rival in rivals:
                if name in others[rival]:
                    raise PluginError(
                        f"the name {name!r} is taken by {others[rival][name].__module__}",
                        fix="uninstall one of the two plugins, or rename the part",
                    )
            if (rivals, name) in own:
                raise PluginError(f"the plugin registers the name {name!r} twice")
            own.add((rivals, name))
