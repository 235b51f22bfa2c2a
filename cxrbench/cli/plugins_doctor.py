"""``cxrbench plugins doctor``: why each broken plugin is broken, and what to do."""

from __future__ import annotations

import typer

from cxrbench.cli.options import Format, takes


@takes()
def doctor(*, output_format: Format) -> None:
    """Explain why plugins are broken and what to do; exit with 1 if any plugin is broken."""
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import Diagnoses

    registry = load_registry()
    show(Diagnoses(registry.broken, len(registry.plugins)), output_format)
    if registry.broken:
        raise typer.Exit(1)
