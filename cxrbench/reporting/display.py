"""Progress and messages: rich bars on standard error, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cxrbench.interfaces import Advance


class SilentDisplay:
    """Shows nothing; the display of `cxrbench.run` when it is called from Python."""

    def say(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Count nothing."""

        def advance(steps: int = 1, detail: str = "") -> None:
            pass

        yield advance


class RichDisplay:
    """Lines and progress bars on standard error, so that standard output stays clean."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """Print one line as it is."""
        self._console.print(text, markup=False)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Show a bar with the rate and the time left; it stays when it is done."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
        )
        with progress:
            task = progress.add_task(description, total=total, detail="")

            def advance(steps: int = 1, detail: str = "") -> None:
                if detail:
                    progress.update(task, advance=steps, detail=detail)
                else:
                    progress.update(task, advance=steps)

            yield advance
