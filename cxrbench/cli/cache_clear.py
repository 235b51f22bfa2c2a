"""``cxrbench cache clear``: remove entries of the cache: those of a dataset, old ones, or all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench.cli.options import Cache, Json

if TYPE_CHECKING:
    from cxrbench.store.contents import Entry


def clear(  # noqa: PLR0913 - each argument is an option of the command
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY…",
            help="Keys that `cxrbench cache list` shows, or their first characters. A kind, such "
            "as embeddings/, selects all its entries.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Entries of this folder, or of the dataset of this name.",
            show_default=False,
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Entries not used for this long, such as 12h, 30d or 8w.",
            show_default=False,
        ),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Interrupted or damaged entries.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="All entries.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Remove the cache entries that match all conditions. Later commands rebuild them if needed.

    Entries that another process is writing or reading are kept.
    """
    from cxrbench.output.show import show
    from cxrbench.store.cache import cache_folder
    from cxrbench.store.contents import Selection, entries, remove
    from cxrbench.store.listing import CacheListing, CacheRemoval

    folder = cache_folder(cache)
    selection = Selection(tuple(keys or ()), data, older_than, incomplete, everything)
    chosen = selection.of(entries(folder))
    if not as_json:
        show(CacheListing(folder, chosen), "table")
    removed: tuple[Entry, ...] = ()
    if chosen and not dry_run and (yes or _confirmed(chosen)):
        removed = tuple(entry for entry in chosen if remove(entry))
    if as_json or (chosen and not dry_run):
        kept = tuple(entry for entry in chosen if entry not in removed)
        result = CacheRemoval(folder, removed, kept, dry_run)
        show(result, "json" if as_json else "table")


def _confirmed(chosen: tuple[Entry, ...]) -> bool:
    """Whether the user agrees; otherwise the command ends with exit code 1."""
    from cxrbench.errors import SettingsError

    if not sys.stdin.isatty():
        raise SettingsError(
            "cannot ask for confirmation, because standard input is no terminal",
            expected="--yes",
            found=f"{len(chosen)} entries to remove",
            fix="list them with --dry-run, then add --yes",
        )
    if not typer.confirm(f"Remove these {len(chosen)} entries?", err=True):
        raise typer.Exit(1)
    return True
