"""``cxrbench cache``: look at what is kept between commands, and remove it."""

from __future__ import annotations

import typer

from cxrbench.cli import cache_clear, cache_list

app = typer.Typer(help="Look at what is kept between commands.", no_args_is_help=True)
app.command("list")(cache_list.list_cache)
app.command("clear")(cache_clear.clear)


@app.callback()
def group() -> None:
    """Look at what is kept between commands, and remove it."""
