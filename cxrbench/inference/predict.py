"""Scores of new images in a stream: read, prepare and encode by threads, predict by batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.inference.images import InputImage
from cxrbench.inference.inputs import ReadyImage, ready_batches
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import Advance
from cxrbench.modeling.predict import padded_batches

Predict = Callable[[dict[str, np.ndarray]], Any]
"""A batch of the inputs that `TrainedRun` describes to probabilities (N, L)."""


@dataclass(frozen=True, eq=False)
class PredictedBatch:
    """Consecutive images: ``y_score`` (n, L) float32, NaN in the rows that have an error."""

    names: tuple[str, ...]
    y_score: np.ndarray
    errors: tuple[str | None, ...]


def predict_images(
    trained: TrainedRun,
    images: Iterable[InputImage],
    *,
    batch_size: int = 32,
    threads: int = 1,
    predict: Predict | None = None,
) -> Iterator[PredictedBatch]:
    """Predict images in their order, as a stream of batches; memory holds a few batches only.

    An image that cannot be read, or for which a plugin fails, is a row with the reason; the others
    go on.

    Parameters
    ----------
    images : such as a `cxrbench.inference.images.ImageSource`.
    batch_size : images per batch. The model always gets this number; the last batch is filled up
        with one of its own images, because a compiled model takes one shape only.
    threads : threads that read images and extract features, beside the one that predicts.
    predict : computes the probabilities of a batch; by default the run's Keras model.

    Raises
    ------
    RunError : the run does not say how its images were prepared.
    """
    compute = trained.model.predict_on_batch if predict is None else predict
    batches = ready_batches(
        images,
        trained.preparation,
        trained,
        batch_size=batch_size,
        threads=threads,
        with_pixels=False,
    )
    with closing(batches):
        for batch in batches:
            yield _predicted(batch, compute, batch_size, len(trained.label_names))


def _predicted(
    batch: list[ReadyImage], compute: Predict, batch_size: int, labels: int
) -> PredictedBatch:
    y_score = np.full((len(batch), labels), np.nan, np.float32)
    errors = [image.reason for image in batch]
    usable = np.array([row for row, reason in enumerate(errors) if reason is None], int)
    for rows, count in padded_batches(usable, batch_size):
        inputs = {
            name: np.stack([batch[row].inputs[name] for row in rows])
            for name in batch[rows[0]].inputs
        }
        y_score[usable] = np.asarray(compute(inputs), np.float32)[:count]
    for row in usable[~np.isfinite(y_score[usable]).all(axis=1)]:
        errors[row], y_score[row] = "the model's scores are not finite", np.nan
    return PredictedBatch(tuple(image.name for image in batch), y_score, tuple(errors))


@dataclass
class Tally:
    """The number of images, the number of them that have an error, and the first error."""

    images: int = 0
    failed: int = 0
    first: str = ""

    def over(self, batches: Iterable[PredictedBatch], advance: Advance) -> Iterator[PredictedBatch]:
        """The same batches, counted as they pass."""
        for batch in batches:
            bad = [pair for pair in zip(batch.names, batch.errors, strict=True) if pair[1]]
            if bad and not self.failed:
                self.first = "{}: {}".format(*bad[0])
            self.images += len(batch.names)
            self.failed += len(bad)
            yield batch
            advance(len(batch.names))
