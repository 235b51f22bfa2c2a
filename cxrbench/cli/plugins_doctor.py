"""``cxrbench plugins doctor``: why each broken plugin is broken, and what to do."""

from __future__ import annotations

import typer

from cxrbench.cli.options import Json


def doctor(as_json: Json = False) -> None:
    """Tell why each broken plugin is broken and what to do; exit with 1 where one is."""
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import print_diagnoses

    plugins = load_registry().plugins
    print_diagnoses(plugins, "json" if as_json else "table")
    if any(plugin.error is not None for plugin in plugins):
        raise typer.Exit(1)
