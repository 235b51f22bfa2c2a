"""``cxrbench data``: download, check and prepare cohorts."""

from __future__ import annotations

import typer

from cxrbench.cli import data_check, data_download, data_prepare

app = typer.Typer(help="Download, check and prepare cohorts.", no_args_is_help=True)
app.command("download")(data_download.download)
app.command("check")(data_check.check)
app.command("prepare", cls=data_prepare.SeveralRecipes)(data_prepare.prepare)


@app.callback()
def group() -> None:
    """Download, check and prepare cohorts."""
