"""``cxrbench cache clear``: remove entries of the cache: those of a dataset, old ones, or all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrbench.cli.options import Json, takes

if TYPE_CHECKING:
    from cxrbench.store.contents import Entry


@takes("cache", data="Remove entries of this folder, or of the dataset of this name.")
def clear(
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY…",
            help="Keys that `cxrbench cache list` shows, or their first characters. A kind, such "
            "as embeddings/, selects all its entries.",
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Remove entries not used for this long, such as 12h, 30d or 8w.",
        ),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Remove interrupted or damaged entries.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Remove all entries.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Remove the cache entries that match all conditions. Later commands rebuild them if needed.

    Entries that another process is writing or reading are kept.
    """
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.store.contents import Selection, entries, remove
    from cxrbench.store.listing import CacheListing, CacheRemoval

    request = request_of(options)
    folder = request.cache
    selection = Selection(tuple(keys or ()), request.data, older_than, incomplete, everything)
    selected = selection.of(entries(folder))
    if not as_json:
        show(CacheListing(folder, selected), "table")
    agreed = bool(selected) and not dry_run and (yes or _confirmed(selected))
    results = [(entry, agreed and remove(entry)) for entry in selected]
    if as_json or (selected and not dry_run):
        removed, kept = (
            tuple(entry for entry, gone in results if gone is wanted) for wanted in (True, False)
        )
        result = CacheRemoval(folder, removed, kept, dry_run)
        show(result, "json" if as_json else "table")


def _confirmed(selected: tuple[Entry, ...]) -> bool:
    """Whether the user agrees; otherwise the command ends with exit code 1."""
    from cxrbench.errors import SettingsError

    if not sys.stdin.isatty():
        raise SettingsError(
            "cannot prompt for confirmation, because standard input is not a terminal",
            expected="--yes",
            found=f"{len(selected)} entries to remove",
            fix="list them with --dry-run, then add --yes",
        )
    if not typer.confirm(f"Remove these {len(selected)} entries?", err=True):
        raise typer.Exit(1)
    return True
