"""``cxrbench cache clear``: remove what is kept, of one dataset, of long ago, or all of it."""

from __future__ import annotations

import json
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
            help="Keys of `cxrbench cache list`, or how they begin; embeddings/ is all of a kind.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="What was made of this folder, or of the dataset of this name.",
            show_default=False,
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Not used for so long: 12h, 30d, 8w.", show_default=False),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="What is interrupted or damaged.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Remove what is kept between commands; it is made again when it is needed.

    What is removed fits all that is given. What another process makes or reads now is kept.
    """
    from cxrbench.store.cache import cache_folder
    from cxrbench.store.contents import Selection, entries, remove
    from cxrbench.store.documents import entry_as_json, print_cleared, print_entries

    folder = cache_folder(cache)
    selection = Selection(tuple(keys or ()), data, older_than, incomplete, everything)
    chosen = selection.of(entries(folder))
    if not as_json:
        print_entries(chosen, folder)
    gone: list[Entry] = []
    if chosen and not dry_run and (yes or _confirmed(chosen)):
        gone = [entry for entry in chosen if remove(entry)]
    kept = [entry for entry in chosen if entry not in gone]
    if as_json:
        told = {
            "cache": str(folder),
            "removed": [entry_as_json(entry) for entry in gone],
            "kept": [entry_as_json(entry) for entry in kept],
            "dry_run": dry_run,
            "freed": sum(entry.size for entry in gone),
        }
        typer.echo(json.dumps(told, indent=2))
    elif chosen and not dry_run:
        print_cleared(gone, kept)


def _confirmed(chosen: tuple[Entry, ...]) -> bool:
    """Whether the user agrees; ends the command with exit code 1 if not."""
    from cxrbench.errors import SettingsError

    if not sys.stdin.isatty():
        raise SettingsError(
            "nobody can be asked whether to remove this",
            expected="--yes, where standard input is no terminal",
            found=f"{len(chosen)} entries to remove",
            fix="look at them with --dry-run, then give --yes",
        )
    if not typer.confirm(f"Remove these {len(chosen)}?", err=True):
        raise typer.Exit(1)
    return True
