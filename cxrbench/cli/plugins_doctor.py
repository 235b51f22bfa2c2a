"""``cxrbench plugins doctor``: why each broken plugin is broken, and what to do."""

from __future__ import annotations

import typer

from cxrbench.cli.options import Format, Json, OutputFormat, chosen_format


def doctor(output: OutputFormat = Format.table, as_json: Json = False) -> None:
    """Explain why plugins are broken and what to do; exit with 1 if any plugin is broken."""
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import Diagnoses

    plugins = load_registry().plugins
    broken = [plugin for plugin in plugins if plugin.error is not None]
    show(Diagnoses(broken, len(plugins)), chosen_format(output, as_json).value)
    if broken:
        raise typer.Exit(1)
