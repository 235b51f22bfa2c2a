"""Scores of new images in a stream, and their files: CSV, JSON, Parquet, tables, documents."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import get_terminal_size
from textwrap import TextWrapper
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.inference.images import InputImage
from cxrbench.inference.inputs import ReadyImage, ready_batches
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import Advance
from cxrbench.metrics.thresholds import apply_thresholds
from cxrbench.modeling.predict import padded_batches
from cxrbench.output.files import replacing
from cxrbench.output.formats import WRITERS as DOCUMENTS
from cxrbench.output.sections import (
    CellTable,
    Column,
    Section,
    as_csv_cell,
    text_column,
    visible,
    visible_line,
    visible_section,
)

UNDECLARED = ("has no modality", "does not say")
"""How the reasons begin of DICOM files that do not say what they show, or from where."""

_ROW_GROUP = 10_000
_UNBROKEN = "\N{NO-BREAK SPACE}"

Predict = Callable[[dict[str, np.ndarray]], Any]
"""A batch of the inputs that `TrainedRun` describes to probabilities (N, L)."""


@dataclass(frozen=True, eq=False)
class PredictedBatch:
    """Consecutive images: ``y_score`` (n, L) float32, NaN in the rows that have an error.

    It is the mean over the models; ``of_models`` (M, n, L) has each of them.
    """

    names: tuple[str, ...]
    of_models: np.ndarray
    errors: tuple[str | None, ...]

    @property
    def y_score(self) -> np.ndarray:
        """The mean over the models."""
        mean: np.ndarray = self.of_models.mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean


def predict_images(
    trained: TrainedRun | Sequence[TrainedRun],
    images: Iterable[InputImage],
    *,
    batch_size: int = 32,
    threads: int = 1,
    predict: Predict | Sequence[Predict] | None = None,
) -> Iterator[PredictedBatch]:
    """Predict images in their order, as a stream of batches; memory holds a few batches only.

    An image that cannot be read, or for which a plugin fails, is a row with the reason; the others
    go on. Several models, the seeds of one recipe, get the same decoded images.

    Parameters
    ----------
    images : such as a `cxrbench.inference.images.ImageSource`.
    batch_size : images per batch. The model always gets this number; the last batch is filled up
        with one of its own images, because a compiled model takes one shape only.
    threads : threads that read images and extract features, beside the one that predicts.
    predict : computes the probabilities of a batch, for several models one for each; by default
        the run's Keras model.

    Raises
    ------
    RunError : the run does not say how its images were prepared.
    """
    models = (trained,) if isinstance(trained, TrainedRun) else tuple(trained)
    if predict is None:
        predict = [model.model.predict_on_batch for model in models]
    computes = (predict,) if callable(predict) else tuple(predict)
    batches = ready_batches(
        images,
        models[0].preparation,
        models,
        batch_size=batch_size,
        threads=threads,
        with_pixels=False,
    )
    with closing(batches):
        for batch in batches:
            yield _predicted(batch, computes, batch_size, len(models[0].label_names))


def _predicted(
    batch: list[ReadyImage], computes: Sequence[Predict], batch_size: int, labels: int
) -> PredictedBatch:
    y_score = np.full((len(computes), len(batch), labels), np.nan, np.float32)
    errors = [image.reason for image in batch]
    usable = np.array([row for row, reason in enumerate(errors) if reason is None], int)
    for rows, count in padded_batches(usable, batch_size):
        for place, compute in enumerate(computes):
            inputs = {
                name: np.stack([batch[row].of_models[place][name] for row in rows])
                for name in batch[rows[0]].of_models[place]
            }
            y_score[place, usable] = np.asarray(compute(inputs), np.float32)[:count]
    for row in usable[~np.isfinite(y_score[:, usable]).all(axis=(0, 2))]:
        errors[row], y_score[:, row] = "the model's scores are not finite", np.nan
    return PredictedBatch(tuple(image.name for image in batch), y_score, tuple(errors))


@dataclass
class Tally:
    """The number of images, the number of them that have an error, and the first error.

    ``unknown`` are those that do not say what they show, of formats that can say it.
    """

    images: int = 0
    failed: int = 0
    unknown: int = 0
    first: str = ""

    def over(self, batches: Iterable[PredictedBatch], advance: Advance) -> Iterator[PredictedBatch]:
        """The same batches, counted as they pass."""
        for batch in batches:
            bad = [pair for pair in zip(batch.names, batch.errors, strict=True) if pair[1]]
            if bad and not self.failed:
                self.first = "{}: {}".format(*bad[0])
            self.images += len(batch.names)
            self.failed += len(bad)
            self.unknown += sum(str(why).startswith(UNDECLARED) for _, why in bad)
            yield batch
            advance(len(batch.names))


@dataclass(frozen=True)
class PredictionColumns:
    """The columns of predictions: one ``y_score`` for each label, and ``y_pred`` with thresholds.

    ``thresholds`` has a value for each label, None if undefined. Without it there is no ``y_pred``.
    ``seeds`` are the runs of several seeds, by seed: then ``y_score`` is their mean, and each seed
    has columns of its own.
    """

    run: str
    label_names: tuple[str, ...]
    thresholds: tuple[float | None, ...] | None = None
    seeds: Mapping[int, str] = field(default_factory=dict)

    @property
    def numbers(self) -> list[str]:
        """The names of the columns between ``image`` and ``error``."""
        kinds = ["y_score"] if self.thresholds is None else ["y_score", "y_pred"]
        kinds += [f"seed{seed}_y_score" for seed in self.seeds]
        return [f"{kind}_{label}" for kind in kinds for label in self.label_names]

    def rows(self, batches: Iterable[PredictedBatch]) -> Iterator[list[str]]:
        """Each image: numbers are the shortest texts that give them back, "" if unknown."""
        for batch in batches:
            texts = np.where(np.isnan(batch.y_score), "", batch.y_score.astype(str))
            if self.thresholds is not None:
                thresholds = np.array([np.nan if t is None else t for t in self.thresholds])
                y_pred = apply_thresholds(batch.y_score, thresholds)
                unknown = np.isnan(batch.y_score) | np.isnan(y_pred)
                decisions = np.where(unknown, "", np.where(y_pred == 1, "1", "0"))
                texts = np.concatenate([texts, decisions], axis=1)
            for scores in batch.of_models if self.seeds else ():
                of_seed = np.where(np.isnan(scores), "", scores.astype(str))
                texts = np.concatenate([texts, of_seed], axis=1)
            for name, row, error in zip(batch.names, texts.tolist(), batch.errors, strict=True):
                yield [name, *row, error or ""]


Write = Callable[[Iterable[PredictedBatch], PredictionColumns, Any], None]


def write_csv(batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str]) -> None:
    """One row per image; unknown values are empty."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["image", *columns.numbers, "error"])
    # Numbers are texts here, and stay as they are.
    shown = visible if out.isatty() else str
    writer.writerows([shown(as_csv_cell(c)) for c in row] for row in columns.rows(batches))


def write_json(batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str]) -> None:
    """One object, with an object per image whose keys are the columns of CSV."""
    head: dict[str, Any] = {"run": columns.run, "labels": list(columns.label_names)}
    if columns.seeds:
        head["seeds"] = [{"seed": seed, "run": run} for seed, run in columns.seeds.items()]
    out.write(json.dumps(head, indent=2)[:-2] + ',\n  "predictions": [')
    separator = "\n    "
    for name, *numbers, error in columns.rows(batches):
        values = [json.loads(text) if text else None for text in numbers]
        row = {"image": name, **dict(zip(columns.numbers, values, strict=True))}
        out.write(separator + json.dumps({**row, "error": error or None}, allow_nan=False))
        separator = ",\n    "
    out.write("\n  ]\n}\n")


def write_parquet(
    batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[bytes]
) -> None:
    """``y_score`` as float32, ``y_pred`` as int8; unknown values are null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: pa.int8() if name[:6] == "y_pred" else pa.float32() for name in columns.numbers}
    schema = pa.schema({"image": pa.string(), **kinds, "error": pa.string()})
    rows = columns.rows(batches)
    with pq.ParquetWriter(out, schema) as writer:
        while group := list(islice(rows, _ROW_GROUP)):
            names, *others = zip(*group, strict=True)
            texts = [names, *([text or None for text in column] for column in others)]
            arrays = [
                pa.array(column, pa.string()).cast(field.type)
                for column, field in zip(texts, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def write_table(
    batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str]
) -> None:
    """Each image with its labels, the highest score first; ``*`` marks those at their threshold.

    A last line explains the mark. Of several seeds the mean is shown alone.
    """
    columns = replace(columns, seeds={})
    lines = TextWrapper(
        get_terminal_size().columns,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    for name, *numbers, error in columns.rows(batches):
        text = lines.fill(error or _ranked(numbers, columns.label_names))
        out.write(f"{visible_line(name)}\n{text.replace(_UNBROKEN, ' ')}\n")
    if columns.thresholds is not None:
        out.write("*: the score is at or above the threshold of this label.\n")


def _ranked(numbers: Sequence[str], label_names: Sequence[str]) -> str:
    count = len(label_names)
    scores, decisions = map(float, numbers[:count]), numbers[count:] or [""] * count
    ranked = sorted(zip(scores, label_names, decisions, strict=True), key=lambda row: -row[0])
    return ", ".join(
        f"{label}{'*' * (decision == '1')} {score:.3f}".replace(" ", _UNBROKEN)
        for score, label, decision in ranked
    )


def write_document(
    batches: Iterable[PredictedBatch], columns: PredictionColumns, out: IO[str], *, kind: str
) -> None:
    """One table in Markdown, HTML or LaTeX; all rows are held in memory.

    Of several seeds the mean is shown alone.
    """
    columns = replace(columns, seeds={})
    cells = (text_column("image"), *map(Column, columns.numbers), text_column("error"))
    rows = tuple(
        (name, *map(_cell, numbers), error) for name, *numbers, error in columns.rows(batches)
    )
    section = visible_section(Section(columns.run, (CellTable(cells, rows),)))
    out.write(DOCUMENTS[kind]([section]))


def _cell(text: str) -> str:
    """A decision as it is, a score with three decimals, a dash if unknown."""
    return f"{float(text):.3f}" if "." in text or "e" in text else text or "–"


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


def _no_output(path: Path, problem: str) -> SettingsError:
    return SettingsError(
        f"--output {path} cannot be written",
        expected="the name of a file in a folder that exists",
        found=problem,
        fix="choose another --output",
    )
