"""``cxrbench cache list``: list the entries of the cache."""

from __future__ import annotations

from typing import Any

from cxrbench.cli.options import Format, takes


@takes("cache")
def list_cache(*, output_format: Format, **options: Any) -> None:
    """List the entries of the cache: content, data, size, last use and state."""
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.store.contents import entries
    from cxrbench.store.listing import CacheListing

    folder = request_of(options).cache
    show(CacheListing(folder, entries(folder)), output_format)
