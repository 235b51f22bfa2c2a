"""Progress and messages: rich bars on standard error, or nothing at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cxrbench.interfaces import Advance, Display
from cxrbench.output.sections import visible

if TYPE_CHECKING:
    from rich.progress import Progress

_SILENT: ContextVar[bool] = ContextVar("silent", default=False)


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
    """Progress bars on standard error; lines there too, or on standard output beside a table."""

    def __init__(self, *, lines_on_stdout: bool = False) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._lines = Console(highlight=False) if lines_on_stdout else self._console
        self._progress: Progress | None = None
        self._bars = 0

    def say(self, text: str) -> None:
        """Print one line as it is."""
        self._lines.print(visible(text), markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Show a bar with the time left, or taken once it is done, and the detail.

        Bars of work that goes on side by side share one place; the last that ends there stays.
        Work that ends before its ``total``, as training can, has a full bar; work without a step,
        as where nothing had to be fitted, has none.
        """
        with self._shared_progress() as progress:
            task = progress.add_task(visible(description), total=total, detail="")

            def advance(steps: int = 1, detail: str = "") -> None:
                if detail:
                    progress.update(task, advance=steps, detail=visible(detail))
                else:
                    progress.update(task, advance=steps)

            yield advance
            steps = int(progress.tasks[progress.task_ids.index(task)].completed)
            if self._bars > 1 or not steps:
                progress.remove_task(task)
            elif steps < total:
                progress.update(task, total=steps)

    @contextmanager
    def _shared_progress(self) -> Iterator[Progress]:
        if self._progress is None:
            self._progress = self._new_progress()
            self._progress.start()
        self._bars += 1
        try:
            yield self._progress
        finally:
            self._bars -= 1
            if not self._bars:
                if self._progress.tasks:
                    self._progress.stop()
                else:  # no bar stays, and so no line, not even an empty one
                    self._progress.live.transient = True
                    self._progress.live.stop()
                self._progress = None

    def _new_progress(self) -> Progress:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        whole = Column(no_wrap=True)
        cut = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        return Progress(
            TextColumn("{task.description}", markup=False, table_column=whole),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[detail]}", markup=False, table_column=cut),
            console=self._console,
            expand=True,
        )


class LineDisplay(SilentDisplay):
    """Lines on standard error, without progress bars."""

    def say(self, text: str) -> None:
        """Print one line."""
        sys.stderr.write(f"{visible(text)}\n")


def notebook_display() -> Display:
    """Progress in a Jupyter kernel, with bars if ipywidgets is installed; silence elsewhere."""
    ipython = sys.modules.get("IPython")
    if not hasattr(ipython and ipython.get_ipython(), "kernel"):
        return SilentDisplay()
    if find_spec("ipywidgets"):
        return RichDisplay()
    display = LineDisplay()
    display.say('for progress bars: pip install "cxrbench[notebook]"')
    return display


@contextmanager
def silence() -> Iterator[None]:
    """Displays that are made inside show nothing (``--quiet``)."""
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


def new_display(*, lines_on_stdout: bool = False) -> Display:
    """The display of a command."""
    return SilentDisplay() if _SILENT.get() else RichDisplay(lines_on_stdout=lines_on_stdout)


@contextmanager
def progress(*, lines_on_stdout: bool = False) -> Iterator[Display]:
    """A display for a command whose result goes to standard output.

    Keras and plugins print at times. That goes to standard error, so that standard output carries
    the result alone; with ``lines_on_stdout``, beside a table, nothing is moved.
    """
    with nullcontext() if lines_on_stdout else redirect_stdout(sys.stderr):
        yield new_display(lines_on_stdout=lines_on_stdout)
