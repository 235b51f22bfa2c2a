"""The output of the ``cxrbench plugins`` commands: plugins, diagnoses and results of checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cxrbench.output.sections import CellTable, Column, Section, counted, text_column
from cxrbench.registry import Plugin
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
