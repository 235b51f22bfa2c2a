"""What a download has brought, or would bring, as text or JSON on standard output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cxrbench.data.download.download import DOWNLOADS, FileState
from cxrbench.data.download.state import read_record

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 200


@dataclass(frozen=True)
class DownloadReport:
    """The files of a cohort; ``listed``: nothing was fetched on purpose, ``fetched``: some were."""

    dataset: str
    folder: Path
    files: Sequence[FileState]
    listed: bool
    fetched: bool

    @property
    def complete(self) -> bool:
        """Whether every file is in the folder."""
        return all(state.there for state in self.files)

    @property
    def next_command(self) -> str:
        """What to type to use it."""
        # With a slash it is a folder to every reader, and not the dataset of that name.
        return f"cxrbench run resnet+orb --data {shlex.quote(f'{self.folder}/')}"


def print_listing(listing: DownloadReport, as_json: bool) -> None:
    """Print a table of files if that is what was asked for, then whether all is there."""
    if as_json:
        typer.echo(json.dumps(_as_json(listing), indent=2))
        return
    if listing.listed:
        _print_table(listing.files)
    if not listing.complete:
        missing = [state.file.size for state in listing.files if not state.there]
        known = sum(size for size in missing if size is not None)
        more = " and more" if None in missing else ""
        typer.echo(f"{len(missing)} files are missing in {listing.folder}: {_size(known)}{more}")
        return
    done = "complete" if listing.fetched else "complete already; nothing was fetched"
    images = sum(state.file.images or 0 for state in listing.files)
    typer.echo(
        f"{listing.folder} is {done}: {len(listing.files)} files verified"
        + (f", {images:,} images" if images else "")
    )
    if kept := [path for path in (listing.folder / DOWNLOADS).glob("*") if path.is_file()]:
        size = sum(path.stat().st_size for path in kept)
        typer.echo(f"{len(kept)} archives are kept in {listing.folder / DOWNLOADS}: {_size(size)}")
    typer.echo(f"next: {listing.next_command}")


def _print_table(files: Sequence[FileState]) -> None:
    from rich.console import Console

    # Addresses are never cut; a narrower terminal breaks the lines.
    Console(highlight=False, markup=False, emoji=False, width=_WIDTH).print(_table(files))


def _table(files: Sequence[FileState]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("file", "size", "checksum", "there", "address", box=box.SIMPLE_HEAD)
    for column in table.columns:
        column.no_wrap = True
    for state in files:
        algorithm = state.file.checksum.partition(":")[0].upper()
        table.add_row(
            state.file.name,
            "unknown" if state.file.size is None else _size(state.file.size),
            f"{algorithm} by {state.file.checksum_by}",
            "yes" if state.there else "no",
            state.url,
        )
    return table


def _size(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"


def _as_json(listing: DownloadReport) -> dict[str, Any]:
    record = read_record(listing.folder)
    return {
        "dataset": listing.dataset,
        "folder": str(listing.folder),
        "complete": listing.complete,
        "fetched": listing.fetched,
        "files": [
            {
                "name": state.file.name,
                "url": state.url,
                "size": state.file.size,
                "checksum": state.file.checksum,
                "checksum_by": state.file.checksum_by,
                "sha256": record[state.file.name].sha256 if state.file.name in record else None,
                "there": state.there,
            }
            for state in listing.files
        ],
        "next": listing.next_command,
    }
