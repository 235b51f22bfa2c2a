"""The output of the ``cxrbench plugins`` commands: plugins, parts, diagnoses and checks."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from cxrbench.output.sections import CellTable, Column, Section, counted, text_column
from cxrbench.parameters import describe_type, field_types, spelt
from cxrbench.recipe_text import PERMUTED
from cxrbench.registry import Plugin, Registry
from cxrbench.testing.check import CheckResult

_PLUGIN_COLUMNS = ("kind", "name", "plugin", "package", "version", "state")


@dataclass(frozen=True)
class PluginList:
    """Plugins with the parts that they provide."""

    plugins: Sequence[Plugin]

    def sections(self) -> tuple[Section, ...]:
        """A row for each part and each broken plugin, then the errors."""
        rows = tuple(
            (kind, name, plugin.name, plugin.package, plugin.version, plugin.state)
            for plugin in self.plugins
            for kind, _, name in (part.partition(" ") for part in plugin.provides or ("– –",))
        )
        table = CellTable(tuple(text_column(name) for name in _PLUGIN_COLUMNS), rows)
        errors = tuple(
            f"{plugin.name} is broken: {plugin.error}" for plugin in self.plugins if plugin.error
        )
        return (Section(counted(len(self.plugins), "plugin"), (table,), errors),)

    def records(self) -> list[dict[str, Any]]:
        """One line for each plugin."""
        return [{**row, "provides": ", ".join(row["provides"])} for row in self._rows()]

    def to_json(self) -> dict[str, Any]:
        """Every plugin with its parts, state and error."""
        return {"plugins": self._rows()}

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "name": plugin.name,
                "provides": list(plugin.provides),
                "package": plugin.package,
                "version": plugin.version,
                "state": plugin.state,
                "error": plugin.error,
                "fix": plugin.fix or None,
            }
            for plugin in self.plugins
        ]


@dataclass(frozen=True)
class Diagnoses(PluginList):
    """The broken ones of ``plugins``; ``total`` counts all."""

    total: int

    def sections(self) -> tuple[Section, ...]:
        """Why each is broken, and what to do."""
        if not self.plugins:
            title = f"All {self.total} plugins load. `cxrbench plugins check` tests them further."
            return (Section(title, ()),)
        title = f"{len(self.plugins)} of {counted(self.total, 'plugin')} are broken"
        return (Section(title, (), tuple(map(_diagnosis, self.plugins))),)


def _diagnosis(plugin: Plugin) -> str:
    origin = f"{plugin.package} {plugin.version}".strip() or "no package"
    error = (plugin.error or "").replace("\n", "\n  ")
    fix = f"\n    to do: {plugin.fix}" if plugin.fix else ""
    return f"{plugin.name} ({origin}, module {plugin.module})\n  {error}{fix}"


@dataclass(frozen=True)
class CheckReport:
    """The results of conformance checks."""

    results: Sequence[CheckResult]

    def sections(self) -> tuple[Section, ...]:
        """A row for each check, then each failure whole."""
        columns = (
            *(text_column(name) for name in ("part", "check", "result")),
            Column("seconds"),
            text_column("details", 20),
        )
        rows = tuple(
            (
                *(result.part, result.check, result.state, f"{result.seconds:.2f}"),
                "" if result.state == "failed" else result.told,
            )
            for result in self.results
        )
        failed = [result for result in self.results if result.state == "failed"]
        seconds = sum(result.seconds for result in self.results)
        title = f"{counted(len(rows), 'check')} in {seconds:.1f} s, {len(failed)} failed"
        # One mistake often fails many checks: it is shown once.
        checks: dict[tuple[str, str], list[str]] = {}
        for result in failed:
            checks.setdefault((result.part, result.told), []).append(result.check)
        notes = (f"{part}, {', '.join(names)}: {text}" for (part, text), names in checks.items())
        return (Section(title, (CellTable(columns, rows),), tuple(notes)),)

    def records(self) -> list[dict[str, Any]]:
        """One line for each check."""
        return [asdict(result) for result in self.results]

    def to_json(self) -> dict[str, Any]:
        """Every check with its result."""
        return {"checks": self.records()}


@dataclass(frozen=True)
class ParameterRow:
    """One parameter of a part: ``values`` in words, the smallest and the largest one that works.

    ``of`` is the part itself, or the encoding that it belongs to.
    """

    name: str
    of: str
    values: str
    least: float | None
    most: float | None
    default: Any
    text: str


@dataclass(frozen=True)
class PartCard:
    """One part with everything that a recipe can write of it, and a recipe to copy."""

    kind: str
    name: str
    aliases: tuple[str, ...]
    plugin: str
    package: str
    version: str
    summary: str
    properties: Mapping[str, Any]
    parameters: tuple[ParameterRow, ...]
    example: str


@dataclass(frozen=True)
class PartCards:
    """Cards of parts (``plugins show``)."""

    cards: Sequence[PartCard]

    def sections(self) -> tuple[Section, ...]:
        """A table of parameters for each part."""
        return tuple(map(_card_section, self.cards))

    def records(self) -> list[dict[str, Any]]:
        """One line for each parameter."""
        return [
            {"kind": card.kind, "part": card.name, **asdict(one)}
            for card in self.cards
            for one in card.parameters
        ]

    def to_json(self) -> dict[str, Any]:
        """Every part with its parameters."""
        return {"parts": [asdict(card) for card in self.cards]}


def part_cards(name: str, registry: Registry) -> tuple[PartCard, ...]:
    """The cards of the part with this name or alias, or of all parts of a plugin.

    Raises
    ------
    RecipeError : there is no such part.
    PluginError : it is of a broken plugin.
    """
    name = name.partition(":")[0].strip().lower()
    owners = {text: plugin for plugin in registry.plugins for text in plugin.provides}
    named = [(kind, parts[name]) for kind, parts in registry.parts.items() if name in parts]
    if not named:
        named = [
            (kind, registry.parts[kind][part])
            for text, plugin in owners.items()
            for kind, _, part in [text.partition(" ")]
            if plugin.name == name
        ] or [registry.find(name, tuple(registry.parts))]
    return tuple(_card(kind, part, owners[f"{kind} {part.name}"]) for kind, part in named)


def _card(kind: str, part: Any, plugin: Plugin) -> PartCard:
    encodings = getattr(part, "encodings", {})
    rows = list(_rows_of(part, part.name))
    for encoding, encoder in encodings.items():
        rows += _rows_of(encoder, encoding)
    if len(encodings) > 1:
        first, text = next(iter(encodings)), "how the descriptors of an image become one vector"
        values = f"one of {', '.join(encodings)}"
        rows.append(ParameterRow("encoding", part.name, values, None, None, first, text))
    if kind in ("backbone", "feature"):
        text = "train this part on other patients' images, as a control"
        rows.append(ParameterRow(PERMUTED, part.name, "true or false", None, None, False, text))
    names = {"backbone": ("image_size", "freeze_at"), "feature": ("distance",)}.get(kind, ())
    return PartCard(
        kind,
        part.name,
        part.aliases,
        plugin.name,
        plugin.package,
        plugin.version,
        (inspect.getdoc(part) or "").partition("\n")[0],
        {name: getattr(part, name) for name in names if hasattr(part, name)},
        tuple(rows),
        _example(kind, part, rows),
    )


def _rows_of(part: Any, of: str) -> Iterator[ParameterRow]:
    texts = _parameter_texts(part)
    try:
        usual = part()
    except Exception:  # a stranger's code; its defaults can be shown all the same
        usual = None
    defaults: dict[str, Any] = {field.name: field.default for field in fields(part)}
    for name, kind in field_types(part).items():
        default = defaults[name] if usual is None else getattr(usual, name)
        least, most = None, None
        if type(default) in (int, float):
            least, most = (_bound(part, name, default, side) for side in (-1, 1))
        values, text = describe_type(kind), texts.get(name, "")
        yield ParameterRow(name, of, values, least, most, default, text)


def _bound(part: Any, name: str, default: float, side: int) -> float | None:
    """The last value on this side of the default that the part takes; None without a limit."""

    def works(value: float) -> bool:
        try:
            part(**{name: value})
        except Exception:  # a stranger's check of its fields may raise anything
            return False
        return True

    whole = isinstance(default, int)
    bad = default + side * (10**9 if whole else 1e9)
    good = 0 if side < 0 < default and works(0) else default
    if not works(good) or works(bad):
        return None
    for _ in range(60):
        middle = (good + bad) // 2 if whole else (good + bad) / 2
        if middle in (good, bad):
            break
        good, bad = (middle, bad) if works(middle) else (good, middle)
    rounded = float(f"{good:.4g}")
    return good if whole else rounded if works(rounded) else math.trunc(1000 * good) / 1000


def _parameter_texts(part: Any) -> dict[str, str]:
    """What the docstring says of each parameter, in numpy's style."""
    section = re.search(r"Parameters\n-+\n(.*?)(\n\n|\Z)", inspect.getdoc(part) or "", re.DOTALL)
    texts: dict[str, str] = {}
    entries = re.findall(r"^(\w[\w, ]*) : ((?:.|\n(?=\s))*)", section[1] if section else "", re.M)
    for names, text in entries:
        texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return texts


def _example(kind: str, part: Any, rows: Sequence[ParameterRow]) -> str:
    """A text to copy, with the first parameters at their defaults."""
    own = [row for row in rows if row.of == part.name and row.default not in (None, "")]
    pairs = {row.name: row.default for row in own[:2] if row.name != PERMUTED}
    text = spelt(part.name, pairs)
    if kind == "dataset":
        return f"cxrbench run resnet+orb --data {text}"
    if kind == "fusion":
        return f"cxrbench run resnet+orb@{text}"
    return f"cxrbench run {text}" if kind == "backbone" else f"cxrbench run resnet resnet+{text}"


def _card_section(card: PartCard) -> Section:
    columns = ("parameter", "values", "range", "default", "meaning")
    rows = tuple(
        (
            row.name,
            row.values,
            _range_text(row.least, row.most),
            _default_text(row.default),
            f"{row.text} (encoding {row.of})".lstrip() if row.of != card.name else row.text,
        )
        for row in card.parameters
    )
    widths = {"values": 14, "range": 9, "meaning": 24}
    table = CellTable(tuple(text_column(name, widths.get(name, 9)) for name in columns), rows)
    also = f" (also {', '.join(card.aliases)})" if card.aliases else ""
    origin = f"{card.package} {card.version}".strip() or f"plugin {card.plugin}"
    properties = ", ".join(f"{name} {value}" for name, value in card.properties.items())
    return Section(
        f"{card.kind} {card.name}{also}, of {origin}: {card.summary}",
        (table,) if rows else (),
        (
            *([f"{properties}."] if properties else []),
            *([] if rows else ["It has no parameters."]),
            f"Example: {card.example}",
        ),
    )


def _default_text(value: Any) -> str:
    """A default as a recipe spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "–" if value in (None, "") else str(value)


def _range_text(least: float | None, most: float | None) -> str:
    if least is None and most is None:
        return "–"
    if most is None:
        return f"from {least:g}"
    return f"up to {most:g}" if least is None else f"{least:g} to {most:g}"
