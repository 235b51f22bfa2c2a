"""``cxrbench plugins list``: every installed plugin and what it provides."""

from __future__ import annotations

from cxrbench.cli.options import Json


def list_plugins(as_json: Json = False) -> None:
    """Show every part: its kind and name, whose it is, and its state."""
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import print_plugins

    print_plugins(load_registry().plugins, "json" if as_json else "table")
