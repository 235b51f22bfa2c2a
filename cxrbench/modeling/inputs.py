"""The inputs of a model: images and feature vectors by row, in batches, permuted for a control."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxrbench.errors import DataError
from cxrbench.modeling.augment import PARAMETERS, Draws
from cxrbench.modeling.backend import load_keras
from cxrbench.store.image_pass import in_order

# One thread reads faster than any model here computes; the second hides a slow disk.
_THREADS = 2
_AHEAD = 2


@dataclass(frozen=True, eq=False)
class Inputs:
    """Arrays over all rows of a cohort.

    ``image`` is (N, S, S) uint8 pixels or (N, ...) float embeddings, often memory-mapped, and
    None in a recipe without a backbone; ``features`` are (N, D) float32; ``labels`` (N, L) float32
    with NaN where unknown. ``clahe`` (N, S, S) uint8 are the pixels after CLAHE, if the
    augmentation needs them. ``sources`` maps the name of a permuted input to the row (N,) that each
    row takes it from; labels and augmentation stay with the row.
    """

    image: np.ndarray | None
    features: Mapping[str, np.ndarray]
    labels: np.ndarray
    clahe: np.ndarray | None = None
    sources: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def image_size(self) -> int | None:
        """The side of the pixels; None for embeddings, or without an image."""
        if self.image is None or self.image.dtype != np.uint8:
            return None
        return int(self.image.shape[1])

    def gather(self, rows: np.ndarray, draws: Draws | None = None) -> dict[str, np.ndarray]:
        """The stored inputs of these rows; with ``draws``, also those of the augmentation."""
        # Not indexing: np.take lets other threads run while it copies.
        batch = {
            name: np.take(vectors, self._source(name, rows), axis=0)
            for name, vectors in self.features.items()
        }
        if self.image is not None:
            batch["image"] = np.take(self.image, self._source("image", rows), axis=0)
        if draws is not None:
            batch["augmentation"] = draws.parameters[rows]
            if self.clahe is not None:
                places = np.flatnonzero(draws.clahe[rows])
                sources = self._source("image", rows[places])
                batch["image"][places] = np.take(self.clahe, sources, axis=0)
        return batch

    def _source(self, name: str, rows: np.ndarray) -> np.ndarray:
        return self.sources[name][rows] if name in self.sources else rows


def feed(
    inputs: Inputs, batches: Iterable[np.ndarray], draws: Draws | None = None
) -> Generator[tuple[dict[str, np.ndarray], np.ndarray], None, None]:
    """Yield inputs and labels (n, L) of each batch of rows, in order; threads read ahead."""

    def gather(rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return inputs.gather(rows, draws), inputs.labels[rows]

    with closing(in_order(gather, batches, _THREADS, ahead=_AHEAD)) as ready:
        yield from ready


# Separates these draws from those of augmentation and of the images' order.
_STREAM = 0x9E2


def other_patients(
    train_rows: np.ndarray, patients: Sequence[str], *, images: int, seed: int
) -> np.ndarray:
    """Return the row from which each row of a cohort takes a permuted input.

    The seed puts the training patients in an order. Each patient takes the input of the next one,
    and the last patient that of the first: each gives once, and none to itself. Image k of a
    patient takes image k of the other patient, starting again if there are fewer. The input keeps
    its distribution over images and loses its relation to the labels. Rows outside the training
    split keep their own.

    Parameters
    ----------
    train_rows : (n,) rows of the training split.
    patients : (n,) the patients of these rows.
    images : N, the number of rows of the cohort.

    Returns
    -------
    (N,) int64.

    Raises
    ------
    DataError : there is only one training patient.
    """
    names, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    require_two_patients(names)
    stream = np.random.SeedSequence(seed, spawn_key=(_STREAM,))
    order = np.random.default_rng(stream).permutation(len(names))
    of_patient = [train_rows[owner == number] for number in range(len(names))]
    sources = np.arange(images)
    for patient, other in zip(order, np.roll(order, -1), strict=True):
        sources[of_patient[patient]] = np.resize(of_patient[other], len(of_patient[patient]))
    return sources


def training_view(model: Any, *, image_size: int | None, augmented: bool) -> Any:
    """Return the model with stored pixels as its input: the same layers and variables.

    Parameters
    ----------
    model : Functional, ``{"image": (S, S, 1) float32, NAME: (D,)}`` to logits.
    image_size : S, or None if the input ``"image"`` is not pixels.
    augmented : whether batches contain augmentation parameters.

    Returns
    -------
    A model of ``{"image": (S, S) uint8, NAME: (D,)}`` and, if augmented, ``"augmentation"``: (P,)
    float32, to the same logits. The model itself if it takes no pixels.
    """
    names = [tensor.name for tensor in model.inputs]
    if image_size is None or "image" not in names:
        return model
    keras = load_keras()
    inputs = {
        tensor.name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    }
    crossing = dict(inputs)
    inputs["image"] = keras.Input((image_size, image_size), dtype="uint8", name="image")
    arguments = [inputs["image"]]
    if augmented:
        columns = len(PARAMETERS)
        inputs["augmentation"] = keras.Input((columns,), dtype="float32", name="augmentation")
        arguments.append(inputs["augmentation"])
    # This module imports Keras, which settings do not need.
    from cxrbench.modeling.pixels import Pixels

    crossing["image"] = Pixels(dtype="float32", name="pixels")(*arguments)
    return keras.Model(inputs, model(crossing), name="training")


def require_two_patients(patients: Collection[str]) -> None:
    """Raise `DataError` unless these training patients can exchange their inputs."""
    if len(patients) < 2:
        raise DataError(
            "inputs cannot be permuted between training patients",
            expected="at least two patients in the training split",
            found=f"{len(patients)}",
            fix="use more patients, or leave out permuted=true",
        )
