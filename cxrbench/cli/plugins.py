"""``cxrbench plugins``: list, check and create plugins."""

from __future__ import annotations

import typer

from cxrbench.cli import plugins_check, plugins_doctor, plugins_list, plugins_new

app = typer.Typer(help="List, check and create plugins.", no_args_is_help=True)
app.command("list")(plugins_list.list_plugins)
app.command("check")(plugins_check.check)
app.command("doctor")(plugins_doctor.doctor)
app.command("new")(plugins_new.new)


@app.callback()
def group() -> None:
    """List, check and create plugins."""
