"""``cxrbench cache verify``: compare the entries of the cache with their checksums."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, takes


@takes("cache")
def verify(
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY…]",
            help="Keys that `cxrbench cache list` shows, or their first characters. A kind, such "
            "as embeddings/, selects all its entries. \\[default: all]",
        ),
    ] = None,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Read the entries of the cache completely, and compare them with their checksums.

    The exit code is 1 if an entry is damaged.
    """
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.store.contents import Selection, entries, verification_of
    from cxrbench.store.listing import CacheVerification

    folder = request_of(options).cache
    selection = Selection(tuple(keys or ()), everything=not keys)
    selected = selection.of(entries(folder))
    with (
        progress() as display,
        display.task("comparing", sum(entry.size for entry in selected)) as step,
    ):
        results = []
        for entry in selected:
            results.append((entry, verification_of(entry)))
            step(entry.size, entry.name)
    found = CacheVerification(folder, tuple(results))
    show(found, output_format)
    if found.damaged:
        raise typer.Exit(1)
