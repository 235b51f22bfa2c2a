"""Scores of new images in a stream: read, prepare and encode by threads, predict by batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

from cxrbench.errors import RunError
from cxrbench.inference.sources import NewImage, Readers, read_image
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import Advance
from cxrbench.modeling.predict import padded_batches
from cxrbench.recipe import Feature
from cxrbench.store.image_pass import (
    Preparation,
    in_order,
    prepare_source,
    quiet_single_threaded_libraries,
)

Predict = Callable[[dict[str, np.ndarray]], Any]
"""A batch of the inputs that `TrainedRun` describes to probabilities (N, L)."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Some images in a row: ``y_score`` (n, L) float32, NaN in the rows that have an error."""

    names: tuple[str, ...]
    y_score: np.ndarray
    errors: tuple[str | None, ...]


def predict_images(
    trained: TrainedRun,
    images: Iterable[NewImage],
    *,
    batch_size: int = 32,
    threads: int = 1,
    predict: Predict | None = None,
    readers: Readers = MappingProxyType({}),
) -> Iterator[Predictions]:
    """Predict images in their order, as a stream of batches; memory holds a few batches only.

    An image that cannot be read, or from which a plugin makes no features, is a row with the
    reason; the others go on.

    Parameters
    ----------
    batch_size : images per batch. The model always gets so many, the last batch filled up with an
        image of its own: a compiled model sees one shape only.
    threads : threads that read images and extract features, beside the one that predicts.
    predict : what computes the probabilities of a batch; by default the run's Keras model.
    readers : what reads files that are no plain images, see
        `cxrbench.inference.sources.readers_of`.

    Raises
    ------
    RunError : the run does not say how its images were prepared.
    """
    from threadpoolctl import threadpool_limits

    wanted = preparation_of(trained)
    compute = trained.model.predict_on_batch if predict is None else predict
    with ExitStack() as stack:
        stack.enter_context(quiet_single_threaded_libraries())
        # One image is too small a product to share out, as in `cxrbench.store.encode`. Only BLAS:
        # the model's own threads must not be limited.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        work = partial(_ready, trained, wanted, feature_shapes(trained), readers)
        ready = stack.enter_context(closing(in_order(work, images, threads)))
        while rows := list(islice(ready, batch_size)):
            yield _predicted(rows, compute, batch_size, len(trained.label_names))


def preparation_of(trained: TrainedRun) -> Preparation:
    """How the run's own images were prepared."""
    settings = trained.run.conditions.settings
    fit, clahe, max_pixels = (settings.get(name) for name in ("fit", "clahe", "max_pixels"))
    if fit not in ("stretch", "pad") or not isinstance(clahe, bool) or type(max_pixels) is not int:
        raise RunError(
            f"run.json of the run {trained.name!r} does not say how images were prepared",
            expected="the settings fit, clahe and max_pixels",
            found=f"fit {fit!r}, clahe {clahe!r}, max_pixels {max_pixels!r}",
            fix="run the same command with --force",
        )
    return Preparation(
        image_sizes=() if trained.image_size is None else (trained.image_size,),
        extractors=tuple(feature.extractor for feature in trained.recipe.features),
        fit=fit,
        clahe=clahe,
        max_pixels=max_pixels,
    )


@dataclass(frozen=True, eq=False)
class _Ready:
    """One image, ready for the model: its inputs without the batch axis, or why there are none."""

    name: str
    reason: str | None = None
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)


def feature_shapes(trained: TrainedRun) -> dict[str, tuple[int, ...]]:
    """The shape of each feature vector that the model takes, by the feature's name."""
    return {t.name: tuple(t.shape[1:]) for t in trained.model.inputs if t.name != "image"}


def _ready(
    trained: TrainedRun,
    wanted: Preparation,
    shapes: Mapping[str, tuple[int, ...]],
    readers: Readers,
    image: NewImage,
) -> _Ready:
    name = image.record.image_id
    try:
        found = prepare_source(
            partial(read_image, image.path, wanted.max_pixels, readers), image.record, wanted
        )
        if found.reason is not None:
            return _Ready(name, found.reason)
        size = trained.image_size
        inputs = {} if size is None else {"image": found.pixels[size][..., None]}
        for feature in trained.recipe.features:
            descriptors = found.features[feature.extractor].descriptors
            inputs[feature.name] = feature_vector(
                trained, feature, descriptors, shapes[feature.name]
            )
    except Exception as error:  # a plugin's code failed on this image: the others go on
        return _Ready(name, " ".join(f"{type(error).__name__}: {error}".split()))
    return _Ready(name, inputs=inputs)


def feature_vector(
    trained: TrainedRun, feature: Feature, descriptors: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """One image's descriptors, encoded as the run's own were; `ValueError` if the model cannot
    take what comes out.
    """
    vector = trained.encoders[feature.name].transform(feature.extractor.vectors(descriptors))
    if vector.shape != shape or not np.isfinite(vector).all():
        raise ValueError(
            f"{feature.name} gave a vector of shape {vector.shape}, {np.isfinite(vector).sum()} of "
            f"its numbers finite, instead of {shape}"
        )
    return vector


def _predicted(rows: list[_Ready], compute: Predict, batch_size: int, labels: int) -> Predictions:
    y_score = np.full((len(rows), labels), np.nan, np.float32)
    errors = [row.reason for row in rows]
    usable = np.array([index for index, row in enumerate(rows) if row.reason is None], int)
    for chosen, count in padded_batches(usable, batch_size):
        batch = {
            name: np.stack([rows[index].inputs[name] for index in chosen]).astype(np.float32)
            for name in rows[chosen[0]].inputs
        }
        y_score[usable] = np.asarray(compute(batch), np.float32)[:count]
    for index in usable[~np.isfinite(y_score[usable]).all(axis=1)]:
        errors[index], y_score[index] = "the model's scores are not finite", np.nan
    return Predictions(tuple(row.name for row in rows), y_score, tuple(errors))


@dataclass
class Tally:
    """How many images came by, how many of them have an error, and the first of these."""

    images: int = 0
    failed: int = 0
    first: str = ""

    def over(self, batches: Iterable[Predictions], advance: Advance) -> Iterator[Predictions]:
        """The same batches, counted as they are taken."""
        for batch in batches:
            bad = [pair for pair in zip(batch.names, batch.errors, strict=True) if pair[1]]
            if bad and not self.failed:
                self.first = "{}: {}".format(*bad[0])
            self.images += len(batch.names)
            self.failed += len(bad)
            yield batch
            advance(len(batch.names))
