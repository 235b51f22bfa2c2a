"""Show a result on standard output: as a table, JSON, CSV, Markdown, HTML or LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields, is_dataclass
from errno import EISDIR
from pathlib import Path, PurePath
from tempfile import TemporaryFile
from types import NoneType
from typing import Any, Protocol

import numpy as np
from rich.console import Console

from cxrbench.errors import SettingsError
from cxrbench.output.files import Destination, write_text
from cxrbench.output.formats import WRITERS, html_section, print_section
from cxrbench.output.sections import Section, as_csv_cell, visible, visible_section

FORMATS = ("table", "json", "csv", *WRITERS)
"""What ``--format`` takes."""

_WIDTH_OF_A_FILE = 120
_RESULT = Destination("the result", SettingsError, "choose another file with --output")


class Result(Protocol):
    """Anything that a command prints."""

    def sections(self) -> Sequence[Section]:
        """Tables with titles and notes: for a terminal, Markdown, HTML and LaTeX."""

    def to_json(self) -> Any:
        """Values for JSON; `plain` makes them of dataclasses, arrays and NaN."""

    def records(self) -> Sequence[Mapping[str, Any]]:
        """The lines of the CSV, all with the same keys."""


class Shown:
    """A `Result` that a notebook shows as tables, and that becomes a DataFrame."""

    def to_pandas(self: Result) -> Any:
        """The records as a ``pandas.DataFrame``."""
        import pandas as pd

        return pd.DataFrame([plain(record) for record in self.records()])

    def _repr_html_(self: Result) -> str:
        return "\n".join(html_section(section, level=4) for section in self.sections())


def show(result: Result, output: str) -> None:
    """Print ``result`` in one of `FORMATS`; standard output carries nothing else."""
    if output == "json":
        print(json.dumps(plain(result.to_json()), indent=2, allow_nan=False))
    elif output == "csv":
        _print_csv(result.records(), getattr(result, "columns", ()))
    elif output == "table":
        console = plain_console()
        with console.capture() as text:  # written at once: a pipe to `head` may close early
            for section in map(visible_section, result.sections()):
                print_section(console, section)
        sys.stdout.write(text.get())
    else:
        sections = tuple(map(visible_section, result.sections()))
        sys.stdout.write(WRITERS[output](sections))


@contextmanager
def standard_output_to(path: Path) -> Iterator[None]:
    """Write to ``path`` what the block prints, whole, once it is at its end.

    Raises
    ------
    SettingsError : the file cannot be written; before the block where that can be seen then.
    """
    with _RESULT.writing(path):
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path.parent).close()
    text = io.StringIO()
    with redirect_stdout(text):
        yield
    with _RESULT.writing(path):
        write_text(path, text.getvalue())


def plain(value: Any) -> Any:
    """The same values as JSON has them: dicts, lists, texts, numbers; NaN and infinity are None."""
    if type(value) in (str, int, bool, NoneType):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, PurePath) else value


def plain_console() -> Console:
    """Standard output; a file of it is not cut at the width of a terminal."""
    # Names, paths and errors are shown as they are, whatever brackets and colons they hold.
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def _print_csv(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """``columns`` are those of a CSV without records."""
    if not (columns := list(records[0]) if records else columns):
        return
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _csv_cell(v) for k, v in plain(record).items()} for record in records)


def _csv_cell(value: Any) -> Any:
    cell = as_csv_cell(value)
    return visible(cell) if isinstance(cell, str) and sys.stdout.isatty() else cell
