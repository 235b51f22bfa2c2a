"""The results of ``cxrbench cache list`` and ``cxrbench cache clear``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cxrbench.output.files import size_text
from cxrbench.output.sections import CellTable, Column, Section, counted, text_column
from cxrbench.store.contents import Entry

_COLUMNS = (
    *(text_column("kind"), text_column("key", 8), text_column("content", 12)),
    *(text_column("data", 12), Column("size"), Column("last used"), text_column("state", 11)),
)


@dataclass(frozen=True)
class CacheListing:
    """The result of ``cxrbench cache list``: entries of one cache folder."""

    cache: Path
    entries: tuple[Entry, ...]

    def sections(self) -> list[Section]:
        """One table with a row for each entry."""
        if not self.entries:
            return [Section(f"{self.cache}: no entries", ())]
        total = f"{counted(len(self.entries), 'entry', 'entries')}, {_total(self.entries)}"
        return [Section(f"{self.cache}: {total}", (CellTable(_COLUMNS, self._rows()),))]

    def _rows(self) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (
                entry.kind,
                entry.key[:8],
                entry.purpose.what or "–",
                entry.purpose.data or "–",
                size_text(entry.size),
                datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M"),
                entry.state + ", in use" * entry.in_use,
            )
            for entry in self.entries
        )

    def to_json(self) -> dict[str, Any]:
        """The folder, its size and its entries."""
        size = sum(entry.size for entry in self.entries)
        return {"cache": self.cache, "size": size, "entries": self.records()}

    def records(self) -> list[dict[str, Any]]:
        """One line for each entry."""
        return [{**entry.to_json(), "in_use": entry.in_use} for entry in self.entries]


@dataclass(frozen=True)
class CacheVerification:
    """The result of ``cxrbench cache verify``: each entry with ``sound`` or what it is instead."""

    cache: Path
    results: tuple[tuple[Entry, str], ...]

    @property
    def damaged(self) -> tuple[Entry, ...]:
        """The entries that are not what was written."""
        return tuple(entry for entry, state in self.results if state.startswith("damaged"))

    def sections(self) -> list[Section]:
        """One table with a row for each entry."""
        total = counted(len(self.results), "entry", "entries")
        title = f"{self.cache}: {total}, {len(self.damaged):,} damaged"
        rows = tuple(
            (
                e.kind,
                e.key[:8],
                e.purpose.what or "–",
                e.purpose.data or "–",
                size_text(e.size),
                state,
            )
            for e, state in self.results
        )
        keys = " ".join(entry.key for entry in self.damaged)
        notes = (f"To remove what is damaged: cxrbench cache clear {keys}",) if keys else ()
        columns = (*_COLUMNS[:5], text_column("result", 12))
        return [Section(title, (CellTable(columns, rows),) if rows else (), notes)]

    def to_json(self) -> dict[str, Any]:
        """The folder, the number of damaged entries, and all entries."""
        return {"cache": self.cache, "damaged": len(self.damaged), "entries": self.records()}

    def records(self) -> list[dict[str, Any]]:
        """One line for each entry, with its ``result``."""
        return [{**entry.to_json(), "result": state} for entry, state in self.results]


@dataclass(frozen=True)
class CacheRemoval:
    """The result of ``cxrbench cache clear``: the entries that were removed, and the others."""

    cache: Path
    removed: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    dry_run: bool

    def sections(self) -> list[Section]:
        """How much was freed, and which entries were kept."""
        total = f"{counted(len(self.removed), 'entry', 'entries')}, {_total(self.removed)} freed"
        kept = tuple(f"Kept {entry.name}: another process uses it." for entry in self.kept)
        return [Section(f"Removed {total}.", (), kept)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "cache": self.cache,
            "removed": [entry.to_json() for entry in self.removed],
            "kept": [entry.to_json() for entry in self.kept],
            "dry_run": self.dry_run,
            "freed": sum(entry.size for entry in self.removed),
        }

    def records(self) -> list[dict[str, Any]]:
        """One line for each entry that was removed."""
        return [entry.to_json() for entry in self.removed]


def _total(entries: Iterable[Entry]) -> str:
    return size_text(sum(entry.size for entry in entries))
