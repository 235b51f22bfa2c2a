"""``cxrbench plugins``: what is installed, what it provides, and whether it works."""

from __future__ import annotations

import json

import typer

from cxrbench.cli.options import Json

app = typer.Typer(help="Look at the installed plugins.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at the installed plugins."""


@app.command("list")
def list_plugins(as_json: Json = False) -> None:
    """Show every plugin: what it provides, its version and its state."""
    from cxrbench.registry import load_registry

    plugins = load_registry().plugins
    if as_json:
        rows = [
            {
                "name": plugin.name,
                "provides": list(plugin.provides),
                "package": plugin.package,
                "version": plugin.version,
                "state": plugin.state,
                "error": plugin.error,
            }
            for plugin in plugins
        ]
        typer.echo(json.dumps({"plugins": rows}, indent=2))
        return
    from cxrbench.reporting.tables import print_plugins

    print_plugins(plugins)
