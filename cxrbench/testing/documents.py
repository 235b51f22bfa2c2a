"""Plugins, what is wrong with them, and what their checks told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from cxrbench.registry import Plugin
    from cxrbench.testing.check import CheckResult

_STYLES = {"ok": "green", "failed": "bold red", "broken": "bold red", "skipped": "yellow"}


def print_plugins(plugins: Sequence[Plugin], output: str) -> None:
    """Print a row for each part and each broken plugin, as ``table`` or ``json``."""
    if output == "json":
        _print_json(plugins)
        return
    table = Table("kind", "name", "plugin", "package", "version", "state", box=box.SIMPLE_HEAD)
    for plugin in plugins:
        whose = (plugin.name, plugin.package, plugin.version, _state(plugin.state))
        for provided in plugin.provides or ("– –",):
            kind, _, name = provided.partition(" ")
            table.add_row(kind, name, *whose)
    console = plain_console()
    console.print(table)
    for plugin in plugins:
        if plugin.error is not None:
            console.print(f"{plugin.name} is broken: {plugin.error}")


def print_diagnoses(plugins: Sequence[Plugin], output: str) -> None:
    """Print why each broken plugin is broken and what to do, as ``table`` (text) or ``json``."""
    broken = [plugin for plugin in plugins if plugin.error is not None]
    if output == "json":
        _print_json(broken)
        return
    console = plain_console()
    for plugin in broken:
        origin = f"{plugin.package} {plugin.version}".strip() or "no package"
        console.print(f"{plugin.name} ({origin}, module {plugin.module})")
        for line in (plugin.error or "").splitlines():
            console.print(f"  {line}")
        if plugin.fix:
            console.print(f"    to do: {plugin.fix}")
    if broken:
        console.print(f"{len(broken)} of {len(plugins)} plugins are broken")
    else:
        console.print(f"all {len(plugins)} plugins load; `cxrbench plugins check` looks closer")


def print_checks(results: Sequence[CheckResult], output: str) -> None:
    """Print a row for each check, then each failure whole, as ``table`` or ``json``."""
    if output == "json":
        print(json.dumps({"checks": [asdict(result) for result in results]}, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("part", "check", "result"):
        table.add_column(column)
    table.add_column("seconds", justify="right")
    table.add_column("", overflow="fold")
    for result in results:
        told = "" if result.state == "failed" else result.told
        state = _state(result.state)
        table.add_row(result.part, result.check, state, f"{result.seconds:.2f}", told)
    console = plain_console()
    console.print(table)
    failed = [result for result in results if result.state == "failed"]
    # One mistake often fails many checks: it is told once.
    by_failure: dict[tuple[str, str], list[str]] = {}
    for result in failed:
        by_failure.setdefault((result.part, result.told), []).append(result.check)
    for (part, told), checks in by_failure.items():
        console.print(f"{part}, {', '.join(checks)}: {told}")
    seconds = sum(result.seconds for result in results)
    console.print(f"{len(results)} checks in {seconds:.1f} s, {len(failed)} failed")


def _print_json(plugins: Sequence[Plugin]) -> None:
    rows = [
        {
            "name": plugin.name,
            "provides": list(plugin.provides),
            "package": plugin.package,
            "version": plugin.version,
            "state": plugin.state,
            "error": plugin.error,
            "fix": plugin.fix or None,
        }
        for plugin in plugins
    ]
    print(json.dumps({"plugins": rows}, indent=2))


def _state(state: str) -> Text:
    return Text(state, style=_STYLES[state])
