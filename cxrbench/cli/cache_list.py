"""``cxrbench cache list``: what is kept, for what, how large it is and when it was used."""

from __future__ import annotations

import json

import typer

from cxrbench.cli.options import Cache, Json


def list_cache(cache: Cache = None, as_json: Json = False) -> None:
    """Show what is kept between commands: for what, how large, when used, and in which state."""
    from cxrbench.store.cache import cache_folder
    from cxrbench.store.contents import entries
    from cxrbench.store.documents import entry_as_json, print_entries

    folder = cache_folder(cache)
    found = entries(folder)
    if as_json:
        told = {
            "cache": str(folder),
            "size": sum(entry.size for entry in found),
            "entries": [{**entry_as_json(entry), "in_use": entry.in_use} for entry in found],
        }
        typer.echo(json.dumps(told, indent=2))
        return
    print_entries(found, folder)
