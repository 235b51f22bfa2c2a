"""``cxrbench data``: look at, fetch and prepare cohorts."""

from __future__ import annotations

import typer

from cxrbench.cli import data_check

app = typer.Typer(help="Look at, fetch and prepare cohorts.", no_args_is_help=True)
app.command("check")(data_check.check)


@app.callback()
def group() -> None:
    """Look at, fetch and prepare cohorts."""
