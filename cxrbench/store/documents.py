"""What the cache holds, as tables and plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from cxrbench.experiment.preparing import Ahead
    from cxrbench.store.contents import Entry


def entry_as_json(entry: Entry) -> dict[str, Any]:
    """Plain values of an entry; ``path`` is its folder, or where its files begin."""
    return {
        "kind": entry.kind,
        "key": entry.key,
        **asdict(entry.purpose),
        "size": entry.size,
        "last_used": datetime.fromtimestamp(entry.last_used, UTC).isoformat(timespec="seconds"),
        "state": entry.state,
        "path": str(entry.lock.parent / entry.key),
    }


def print_entries(entries: Sequence[Entry], cache: Path) -> None:
    """Print one row for each entry, and their total."""
    console = plain_console()
    if not entries:
        console.print(f"{cache}: nothing that is kept, or nothing that fits")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("key", no_wrap=True)
    table.add_column("what", overflow="fold", min_width=12)
    table.add_column("data", overflow="fold", min_width=12)
    for name in ("size", "last used", "state"):
        table.add_column(name, justify="right" if name == "size" else "left", no_wrap=True)
    for entry in entries:
        told = entry.purpose
        table.add_row(
            entry.kind,
            entry.key[:8],
            told.what or "–",
            told.data or "–",
            size_text(entry.size),
            datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M"),
            entry.state + ", in use" * entry.in_use,
        )
    console.print(table)
    console.print(f"\n{cache}: {len(entries)} entries, {_total(entries)}")


def print_cleared(gone: Sequence[Entry], kept: Sequence[Entry]) -> None:
    """Say how much was freed, and what was not removed."""
    console = plain_console()
    console.print(f"removed {len(gone)} entries: {_total(gone)} freed")
    for entry in kept:
        console.print(f"kept {entry.name}: another process uses it")


def print_ahead(ahead: Ahead) -> None:
    """Print what is ready for later runs, and what is not used."""
    console = plain_console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("what", "size", "", "folder"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for entry in ahead.stores:
        made = "made" if entry.key in ahead.made else "was there"
        table.add_row(
            entry.purpose.what, size_text(entry.size), made, str(entry.lock.parent / entry.key)
        )
    console.print(table)
    console.print(f"\n{ahead.data}: {ahead.usable:,} of {ahead.images:,} images are ready")
    for exclusion in ahead.excluded:
        console.print(f"left out: {exclusion.image_id}: {exclusion.reason}")


def size_text(size: int) -> str:
    """A size in bytes, kB, MB or GB (powers of ten)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} bytes"


def _total(entries: Sequence[Entry]) -> str:
    return size_text(sum(entry.size for entry in entries))
