"""Write predictions batch by batch: CSV, JSON, Parquet, a table for people, or a document."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import get_terminal_size
from textwrap import TextWrapper
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.inference.predict import PredictedBatch
from cxrbench.metrics.thresholds import apply_thresholds
from cxrbench.output.files import replacing
from cxrbench.output.formats import WRITERS as DOCUMENTS
from cxrbench.output.sections import CellTable, Column, Section, text_column

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_GROUP = 10_000
_UNBROKEN = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class PredictionColumns:
    """The columns of predictions: one ``y_score`` for each label, and ``y_pred`` with thresholds.

    ``thresholds`` has a value for each label, None if undefined. Without it there is no ``y_pred``.
    """

    run: str
    label_names: tuple[str, ...]
    thresholds: tuple[float | None, ...] | None = None

    @property
    def numbers(self) -> list[str]:
        """The names of the columns between ``image`` and ``error``."""
        kinds = ("y_score",) if self.thresholds is None else ("y_score", "y_pred")
        return [f"{kind}_{label}" for kind in kinds for label in self.label_names]

    def y_pred(self, batch: PredictedBatch) -> np.ndarray | None:
        """(n, L) float32: 1 or 0, NaN without a score or a threshold; None without thresholds."""
        if self.thresholds is None:
            return None
        thresholds = [np.nan if value is None else value for value in self.thresholds]
        y_pred = apply_thresholds(batch.y_score, np.array(thresholds))
        return np.where(np.isnan(batch.y_score), np.float32(np.nan), y_pred)


Write = Callable[[Iterable[PredictedBatch], PredictionColumns, Any], None]


def write_csv(batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str]) -> None:
    """One row per image; unknown values are empty."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["image", *columns.numbers, "error"])
    for batch in batches:
        texts = _texts(batch, columns)
        for name, row, error in zip(batch.names, texts, batch.errors, strict=True):
            writer.writerow([name, *row, error or ""])


def write_json(batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str]) -> None:
    """One object, with an object per image whose keys are the columns of CSV."""
    head = {"run": columns.run, "labels": list(columns.label_names)}
    out.write(json.dumps(head, indent=2)[:-2] + ',\n  "predictions": [')
    separator = "\n    "
    for batch in batches:
        texts = _texts(batch, columns)
        for name, row, error in zip(batch.names, texts, batch.errors, strict=True):
            values = [json.loads(text) if text else None for text in row]
            numbers = dict(zip(columns.numbers, values, strict=True))
            row_values = {"image": name, **numbers, "error": error}
            out.write(separator + json.dumps(row_values, allow_nan=False))
            separator = ",\n    "
    out.write("\n  ]\n}\n")


def write_parquet(
    batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[bytes]
) -> None:
    """``y_score`` as float32, ``y_pred`` as int8; unknown values are null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"y_score": pa.float32(), "y_pred": pa.int8()}
    numbers = [
        (name, kind)
        for name in columns.numbers
        for prefix, kind in kinds.items()
        if name.startswith(f"{prefix}_")
    ]
    schema = pa.schema([("image", pa.string()), *numbers, ("error", pa.string())])
    with pq.ParquetWriter(out, schema) as writer:
        for tables in _gathered(_arrow(batch, columns, schema) for batch in batches):
            writer.write_table(pa.concat_tables(tables), row_group_size=_ROW_GROUP)


def write_table(
    batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str]
) -> None:
    """Each image with its labels, the highest score first; ``*`` marks those at their threshold."""
    width = get_terminal_size().columns
    for batch in batches:
        y_pred = columns.y_pred(batch)
        for row, (name, error) in enumerate(zip(batch.names, batch.errors, strict=True)):
            line = error or _ranked(batch.y_score[row], y_pred, row, columns)
            out.write(f"{name}\n{_indented(line, width)}\n")


def write_document(
    batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str], *, kind: str
) -> None:
    """One table in Markdown, HTML or LaTeX; all rows are held in memory."""
    texts = (text_column("image"), *map(Column, columns.numbers), text_column("error"))
    rows = []
    for batch in batches:
        y_pred = columns.y_pred(batch)
        for row, (name, error) in enumerate(zip(batch.names, batch.errors, strict=True)):
            scores = ["–" if np.isnan(score) else f"{score:.3f}" for score in batch.y_score[row]]
            labels = [] if y_pred is None else [_decision(value) for value in y_pred[row]]
            rows.append((name, *scores, *labels, error or ""))
    out.write(DOCUMENTS[kind]([Section(columns.run, (CellTable(texts, tuple(rows)),))]))


def _decision(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f}"


WRITERS: Mapping[str, Write] = MappingProxyType(
    {
        "table": write_table,
        "csv": write_csv,
        "json": write_json,
        "parquet": write_parquet,
        **{kind: partial(write_document, kind=kind) for kind in DOCUMENTS},
    }
)
"""The writer of each format; ``parquet`` needs a binary file, the others a text file."""


@contextmanager
def whole_file(path: Path, *, binary: bool) -> Iterator[IO[Any]]:
    """A file to write into; it replaces ``path`` when it is complete, or never.

    Raises
    ------
    SettingsError : the file cannot be written.
    """
    target = path.resolve()  # a link goes on to lead where it does
    if target.exists() and not target.is_file():  # renaming would replace a device
        raise _no_output(path, "a folder" if target.is_dir() else "not a file")
    with replacing(target) as partial:
        try:
            file: IO[Any] = (
                partial.open("wb") if binary else partial.open("w", encoding="utf-8", newline="")
            )
        except OSError as error:
            raise _no_output(path, error.strerror or str(error)) from error
        with file:
            yield file


def _no_output(path: Path, found: str) -> SettingsError:
    return SettingsError(
        f"--output {path} cannot be written",
        expected="the name of a file in a folder that exists",
        found=found,
        fix="choose another --output",
    )


def _texts(batch: PredictedBatch, columns: PredictionColumns) -> list[list[str]]:
    """Each number as the shortest text that gives the same number, "" for NaN."""
    y_pred = columns.y_pred(batch)
    parts = [np.where(np.isnan(batch.y_score), "", batch.y_score.astype(str))]
    if y_pred is not None:
        parts.append(np.where(np.isnan(y_pred), "", np.where(y_pred == 1, "1", "0")))
    rows: list[list[str]] = np.concatenate(parts, axis=1).tolist()
    return rows


def _ranked(
    y_score: np.ndarray, y_pred: np.ndarray | None, row: int, columns: PredictionColumns
) -> str:
    order = np.argsort(-y_score, kind="stable")
    marks = ["*" if y_pred is not None and y_pred[row, i] == 1 else "" for i in order]
    return ", ".join(
        f"{columns.label_names[i]}{mark} {y_score[i]:.3f}".replace(" ", _UNBROKEN)
        for i, mark in zip(order, marks, strict=True)
    )


def _indented(text: str, width: int) -> str:
    wrapper = TextWrapper(
        width,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapper.fill(text).replace(_UNBROKEN, " ")


def _arrow(batch: PredictedBatch, columns: PredictionColumns, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    y_pred = columns.y_pred(batch)
    parts = [batch.y_score] if y_pred is None else [batch.y_score, y_pred]
    values = [*np.concatenate(parts, axis=1).T]
    arrays = [
        pa.array(column, field.type, from_pandas=True)
        if isinstance(column, np.ndarray)
        else pa.array(column, field.type)
        for column, field in zip([batch.names, *values, batch.errors], schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """Lists of tables that are worth a row group, at least one list."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows >= _ROW_GROUP:
            yield waiting
            waiting, rows = [], 0
    if waiting:
        yield waiting
