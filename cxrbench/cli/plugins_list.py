"""``cxrbench plugins list``: every installed plugin and the parts that it provides."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrbench.cli.options import Format, complete_parts, takes


@takes()
def list_plugins(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Only parts of this name, where * is any text. \\[default: all]",
            autocompletion=complete_parts,
        ),
    ] = None,
    *,
    output_format: Format,
) -> None:
    """List installed parts with kind, name, plugin, package, version and state."""
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import PluginList, with_parts

    show(PluginList(with_parts(load_registry().plugins, pattern)), output_format)
