"""Turn images into the inputs of a model: threads read, decode and encode them, in order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import numpy as np

from cxrbench.errors import UnreadableImage, error_text
from cxrbench.inference.images import InputImage
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import LocalFeatures
from cxrbench.recipe import Feature
from cxrbench.store.decoding import unfit_map
from cxrbench.store.image_pass import (
    Preparation,
    in_order,
    prepare_grey,
    quiet_single_threaded_libraries,
)
from cxrbench.store.limits import is_shortage, telling_shortage
from cxrbench.store.sources import grey_of, reason_of


@dataclass(frozen=True, eq=False)
class ReadyImage:
    """An image as each part of a recipe sees it, or the ``reason`` why it cannot be used.

    ``of_models`` are the inputs of each model, float32 without the batch axis. The rest is empty
    unless it was requested: ``grey`` (H, W) uint8 is the original; ``pixels`` has (S, S) uint8 for
    each side S; ``local`` has the features of each extractor, with places in pixels of its own
    side.
    """

    image: InputImage
    preparation: Preparation
    reason: str | None = None
    of_models: tuple[Mapping[str, np.ndarray], ...] = ()
    grey: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    pixels: Mapping[int, np.ndarray] = field(default_factory=dict)
    local: Mapping[str, LocalFeatures] = field(default_factory=dict)

    @property
    def inputs(self) -> Mapping[str, np.ndarray]:
        """The inputs of the only model, or of the first."""
        return self.of_models[0]

    @property
    def name(self) -> str:
        """The name of the image in results."""
        return self.image.name

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the original."""
        return self.grey.shape[1], self.grey.shape[0]

    @property
    def sides(self) -> dict[str, int]:
        """The side in pixels that each extractor of pixels sees, by its name."""
        extractors = self.preparation.extractors
        return {e.name: e.image_size for e in extractors if e.image_size is not None}

    def unfit(self, map_: np.ndarray) -> np.ndarray:
        """A map over what the model sees, as a map over the pixels of the original."""
        return unfit_map(map_, self.size, self.preparation.fit)


def ready_batches(
    images: Iterable[InputImage],
    preparation: Preparation,
    models: Sequence[TrainedRun] = (),
    *,
    batch_size: int = 1,
    threads: int = 1,
    with_pixels: bool = True,
) -> Generator[list[ReadyImage], None, None]:
    """Images in their order, in lists of ``batch_size``; memory holds a few lists only.

    The ``models`` see the same pixels and features, and each has its own encoders.
    ``with_pixels`` also keeps originals, pixels and local features beside the models' inputs.
    """
    from threadpoolctl import threadpool_limits

    work = partial(ready_image, preparation=preparation, models=models, with_pixels=with_pixels)
    with (
        quiet_single_threaded_libraries(),
        # One image is too small a product to share out, as in `cxrbench.store.encode`. Only BLAS:
        # the model's own threads must not be limited.
        threadpool_limits(1, user_api="blas"),
        closing(in_order(work, images, threads)) as ready,
    ):
        while batch := list(islice(ready, batch_size)):
            yield batch


def ready_image(
    image: InputImage,
    preparation: Preparation,
    models: Sequence[TrainedRun] = (),
    *,
    with_pixels: bool = True,
) -> ReadyImage:
    """Read and decode an image, and make the inputs of each of the models.

    An image that cannot be read, or for which a plugin fails, has a reason and nothing else.

    Raises
    ------
    OutOfMemory, DataError : the machine lacks memory or file handles; no image is at fault.
    """
    sides = {e.image_size for e in preparation.extractors if e.image_size is not None}
    sizes = tuple(sorted({*preparation.image_sizes, *sides}))
    with telling_shortage(image.name):
        return _ready_image(image, preparation, models, sizes, with_pixels=with_pixels)


def _ready_image(
    image: InputImage,
    preparation: Preparation,
    models: Sequence[TrainedRun],
    sizes: tuple[int, ...],
    *,
    with_pixels: bool,
) -> ReadyImage:
    try:
        grey = grey_of(image.read(preparation.max_pixels), preparation.max_pixels)
    except Exception as error:
        if is_shortage(error) or isinstance(error.__cause__, ImportError):
            raise  # as it is for all images: memory is short, or a package is missing
        if isinstance(error, UnreadableImage | OSError):
            return ReadyImage(image, preparation, reason_of(error))
        return ReadyImage(image, preparation, _named(error))  # a plugin's code: the others go on
    try:
        prepared = prepare_grey(grey, image.record, replace(preparation, image_sizes=sizes))
        local = {extractor.name: part for extractor, part in prepared.features.items()}
        inputs = tuple(model_inputs(one, prepared.pixels, local) for one in models)
    except Exception as error:
        if is_shortage(error):
            raise
        return ReadyImage(image, preparation, _named(error))
    if not with_pixels:
        return ReadyImage(image, preparation, of_models=inputs)
    return ReadyImage(image, preparation, None, inputs, grey, prepared.pixels, local)


def model_inputs(
    trained: TrainedRun, pixels: Mapping[int, np.ndarray], local: Mapping[str, LocalFeatures]
) -> dict[str, np.ndarray]:
    """The inputs of the run's model for one image: (S, S, 1) and (D,) float32, by name.

    Raises
    ------
    ValueError : a feature vector does not fit the model.
    """
    inputs = {}
    if trained.image_size is not None:
        inputs["image"] = pixels[trained.image_size][..., None].astype(np.float32)
    shapes = {tensor.name: tuple(tensor.shape[1:]) for tensor in trained.model.inputs}
    for feature in trained.recipe.features:
        descriptors = local[feature.name].descriptors
        inputs[feature.name] = _vector(trained, feature, descriptors, shapes[feature.name])
    return inputs


def _vector(
    trained: TrainedRun, feature: Feature, descriptors: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    vector = trained.encoders[feature.name].transform(feature.extractor.vectors(descriptors))
    if vector.shape != shape or not np.isfinite(vector).all():
        raise ValueError(
            f"{feature.name} gave a vector of shape {vector.shape}, {np.isfinite(vector).sum()} of "
            f"its numbers finite, instead of {shape}"
        )
    return vector.astype(np.float32)


def _named(error: Exception) -> str:
    return " ".join(error_text(error).split())
