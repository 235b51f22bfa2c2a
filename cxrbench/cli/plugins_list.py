"""``cxrbench plugins list``: every installed plugin and the parts that it provides."""

from __future__ import annotations

from cxrbench.cli.options import Format, Json, OutputFormat, chosen_format


def list_plugins(output: OutputFormat = Format.table, as_json: Json = False) -> None:
    """List every installed part with its kind, name, plugin, package, version and state."""
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import PluginList

    show(PluginList(load_registry().plugins), chosen_format(output, as_json).value)
