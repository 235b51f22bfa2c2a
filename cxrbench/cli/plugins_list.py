"""``cxrbench plugins list``: every installed plugin and the parts that it provides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench.cli.options import Format, complete_parts, takes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrbench.registry import Plugin


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
    from cxrbench.testing.documents import PluginList

    show(PluginList(_with_parts(load_registry().plugins, pattern)), output_format)


def _with_parts(plugins: Sequence[Plugin], pattern: str | None) -> tuple[Plugin, ...]:
    """The plugins with the parts whose names match, where ``*`` is any text; by default all.

    Raises
    ------
    RecipeError : no part has such a name.
    """
    from dataclasses import replace
    from fnmatch import fnmatch

    from cxrbench.errors import RecipeError
    from cxrbench.parameters import nearest

    if pattern is None:
        return tuple(plugins)
    chosen = []
    for plugin in plugins:
        parts = [part for part in plugin.provides if fnmatch(part.partition(" ")[2], pattern)]
        chosen += [replace(plugin, provides=tuple(parts))] if parts else []
    if not chosen:
        known = sorted({part.partition(" ")[2] for one in plugins for part in one.provides})
        raise RecipeError(
            f"no installed part has the name {pattern!r}",
            expected=", ".join(known),
            found=pattern,
            fix=nearest(pattern, known) or "use one of these, or * for any text",
        )
    return tuple(chosen)
