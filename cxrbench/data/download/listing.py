"""The result of ``cxrbench data download``: the files of a cohort, and which are still missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrbench.data.download.download import DOWNLOADS, FileState
from cxrbench.data.download.state import read_record
from cxrbench.output.files import size_text
from cxrbench.output.sections import CellTable, Column, Section, counted, text_column

_COLUMNS = (
    *(text_column("file"), Column("size"), text_column("checksum"), text_column("downloaded")),
)


@dataclass(frozen=True)
class DownloadReport:
    """The files of a cohort; ``dry_run``: none was to be fetched, ``fetched``: some were."""

    dataset: str
    folder: Path
    files: Sequence[FileState]
    dry_run: bool
    fetched: bool

    @property
    def complete(self) -> bool:
        """Whether every file is in the folder."""
        return all(state.there for state in self.files)

    @property
    def next_command(self) -> str:
        """The command that uses the cohort."""
        # With a slash it is a folder to every reader, and not the dataset of that name.
        return f"cxrbench run resnet+orb --data {shlex.quote(f'{self.folder}/')}"

    def sections(self) -> list[Section]:
        """Whether all files are there; for a dry run also a table of files, and addresses."""
        tables, notes = list[CellTable](), list[str]()
        if self.dry_run:
            tables.append(CellTable(_COLUMNS, tuple(map(_row, self.files))))
            notes += [f"{state.file.name}: {state.url}" for state in self.files]
        if self.complete:
            notes += [*self._archives(), f"Next: {self.next_command}"]
        return [Section(self._summary(), tuple(tables), tuple(notes))]

    def _summary(self) -> str:
        if not self.complete:
            missing = [state.file.size for state in self.files if not state.there]
            known = size_text(sum(size for size in missing if size is not None))
            more = " and more" if None in missing else ""
            return f"{self.folder}: {counted(len(missing), 'file')} missing, {known}{more}"
        images = sum(state.file.images or 0 for state in self.files)
        return (
            f"{self.folder} is complete"
            + ("" if self.fetched else " already; nothing was downloaded")
            + f": {counted(len(self.files), 'file')} verified"
            + (f", {images:,} images" if images else "")
        )

    def _archives(self) -> list[str]:
        place = self.folder / DOWNLOADS
        sizes = [path.stat().st_size for path in place.glob("*") if path.is_file()]
        if not sizes:
            return []
        return [f"{counted(len(sizes), 'archive')} kept in {place}, {size_text(sum(sizes))}"]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dataset": self.dataset,
            "folder": self.folder,
            "complete": self.complete,
            "fetched": self.fetched,
            "files": self.records(),
            "next": self.next_command,
        }

    def records(self) -> list[dict[str, Any]]:
        """One line for each file."""
        record = read_record(self.folder)
        return [
            {
                "name": state.file.name,
                "url": state.url,
                "size": state.file.size,
                "checksum": state.file.checksum,
                "checksum_by": state.file.checksum_by,
                "sha256": record[state.file.name].sha256 if state.file.name in record else None,
                "there": state.there,
            }
            for state in self.files
        ]


def _row(state: FileState) -> tuple[str, ...]:
    return (
        state.file.name,
        "unknown" if state.file.size is None else size_text(state.file.size),
        f"{state.file.checksum.partition(':')[0].upper()} by {state.file.checksum_by}",
        "yes" if state.there else "no",
    )
