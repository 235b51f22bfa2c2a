"""``cxrbench cache list``: list the entries of the cache."""

from __future__ import annotations

from cxrbench.cli.options import Cache, Format, Json, OutputFormat, chosen_format


def list_cache(
    cache: Cache = None, output: OutputFormat = Format.table, as_json: Json = False
) -> None:
    """List the entries of the cache: content, data, size, last use and state."""
    from cxrbench.output.show import show
    from cxrbench.store.cache import cache_folder
    from cxrbench.store.contents import entries
    from cxrbench.store.listing import CacheListing

    folder = cache_folder(cache)
    show(CacheListing(folder, entries(folder)), chosen_format(output, as_json))
