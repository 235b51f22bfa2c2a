"""Images to explain: found as `cxrbench predict` finds them, or in a cohort, and prepared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from cxrbench.data.image_files import image_stem
from cxrbench.errors import DataError, UnreadableImage
from cxrbench.inference.predict import feature_shapes, feature_vector, preparation_of
from cxrbench.inference.sources import Readers, Source, read_image
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import Cohort, Dataset, LocalFeatures, Record
from cxrbench.parameters import nearest
from cxrbench.store.image_pass import Preparation, grey_of, prepare_source, read_source


@dataclass(frozen=True, eq=False)
class Film:
    """An image before it is read; ``row`` is its place in the cohort that knows it, if any."""

    record: Record
    read: Callable[[], bytes | np.ndarray]
    row: int | None = None

    @property
    def name(self) -> str:
        """The path as it was given, or the cohort's image id."""
        return self.record.image_id


@dataclass(frozen=True, eq=False)
class PreparedFilm:
    """A film as every part of a recipe sees it, or the ``reason`` why there is none.

    ``grey`` (H, W) uint8 is the original. ``pixels``: for each side S (S, S) uint8. ``local``: for
    each extractor what it found, places in pixels of its own side. ``inputs``: the model's, without
    the batch axis.
    """

    film: Film
    reason: str | None = None
    grey: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    pixels: Mapping[int, np.ndarray] = field(default_factory=dict)
    local: Mapping[str, LocalFeatures] = field(default_factory=dict)
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the original."""
        return self.grey.shape[1], self.grey.shape[0]


def films_of_cohort(
    dataset: Dataset, cohort: Cohort, rows: Sequence[int], max_pixels: int
) -> Iterator[Film]:
    """The films in these rows of a cohort."""
    for row in rows:
        read = partial(read_source, dataset, cohort.sources[row], cohort.image_ids[row], max_pixels)
        yield Film(cohort.record(row), read, row)


def films_of(
    inputs: Sequence[Path],
    readers: Readers,
    max_pixels: int,
    known: tuple[Dataset, Cohort] | None = None,
) -> Iterator[Film]:
    """The films that a user names: files, folders, tables, and images of a ``known`` cohort by id.

    Of a file whose name is such an id the row is known too.

    Raises
    ------
    DataError : an input is missing, a folder has no images, or a table cannot be used.
    """
    rows = {} if known is None else {name: row for row, name in enumerate(known[1].image_ids)}
    for path in inputs:
        if known is not None and str(path) in rows and not os.path.lexists(path):
            yield from films_of_cohort(*known, [rows[str(path)]], max_pixels)
            continue
        if known is not None and not os.path.lexists(path):
            raise DataError(
                f"there is no {path}",
                expected="an image file, a folder of images, a table (.csv, .tsv), or the id of "
                f"an image of {known[1].name!r}, such as {known[1].image_ids[0]}",
                found="nothing there, and no such id",
                fix=nearest(str(path), known[1].image_ids) or "check the path",
            )
        for image in Source((path,), suffixes=tuple(readers)):
            row = rows.get(image_stem(image.record.image_id))
            read = partial(read_image, image.path, max_pixels, readers)
            yield Film(image.record, read, row)


def wanted_of(trained: TrainedRun) -> Preparation:
    """How the run's images were prepared, with the pixels of its extractors beside the backbone's.

    Raises
    ------
    RunError : the run does not say how its images were prepared.
    """
    own = preparation_of(trained)
    return replace(own, image_sizes=_all_sizes(own))


def prepare_film(
    film: Film, wanted: Preparation, trained: TrainedRun | None = None
) -> PreparedFilm:
    """Read and decode a film and make what is wanted of it, and the inputs of the run's model.

    An image that cannot be read, or from which a plugin makes no features, is one with a reason.
    """
    try:
        grey = grey_of(film.read(), wanted.max_pixels)
    except UnreadableImage as error:
        return PreparedFilm(film, str(error).splitlines()[0])
    except OSError as error:
        return PreparedFilm(film, f"cannot be read: {error.strerror or error}")
    try:
        found = prepare_source(lambda: grey, film.record, wanted)
        local = {extractor.name: told for extractor, told in found.features.items()}
        inputs = {} if trained is None else model_inputs(trained, found.pixels, local)
    except Exception as error:  # a plugin's code failed on this image: the others go on
        return PreparedFilm(film, " ".join(f"{type(error).__name__}: {error}".split()))
    return PreparedFilm(film, None, grey, found.pixels, local, inputs)


def model_inputs(
    trained: TrainedRun, pixels: Mapping[int, np.ndarray], local: Mapping[str, LocalFeatures]
) -> dict[str, np.ndarray]:
    """What the run's model takes of one image: (S, S, 1) and (D,) float32, by name."""
    shapes = feature_shapes(trained)
    inputs = {}
    if trained.image_size is not None:
        inputs["image"] = pixels[trained.image_size][..., None].astype(np.float32)
    for feature in trained.recipe.features:
        descriptors = local[feature.name].descriptors
        inputs[feature.name] = feature_vector(trained, feature, descriptors, shapes[feature.name])
    return inputs


def _all_sizes(wanted: Preparation) -> tuple[int, ...]:
    sizes = {e.image_size for e in wanted.extractors if e.image_size is not None}
    return tuple(sorted({*wanted.image_sizes, *sizes}))
