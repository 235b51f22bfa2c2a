"""``cxrbench cache``: list and remove entries of the cache."""

from __future__ import annotations

import typer

from cxrbench.cli import cache_clear, cache_list

app = typer.Typer(help="List and remove entries of the cache.", no_args_is_help=True)
app.command("list")(cache_list.list_cache)
app.command("clear")(cache_clear.clear)


@app.callback()
def group() -> None:
    """List and remove entries of the cache."""
