"""``cxrbench plugins list``: every installed plugin and the parts that it provides."""

from __future__ import annotations

from cxrbench.cli.options import Format, takes


@takes()
def list_plugins(*, output_format: Format) -> None:
    """List every installed part with its kind, name, plugin, package, version and state."""
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing.documents import PluginList

    show(PluginList(load_registry().plugins), output_format)
