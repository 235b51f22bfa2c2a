"""The keypoints that a row's extractors find in some test images, for the figures of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.data.datasets import find_dataset, load_cohort
from cxrbench.errors import DataError
from cxrbench.inference.films import films_of_cohort, prepare_film
from cxrbench.inference.localise import data_of
from cxrbench.inference.overlays import keypoints_figure
from cxrbench.interfaces import Display
from cxrbench.recipe import parse_recipe
from cxrbench.registry import load_registry
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import Run
from cxrbench.store.image_pass import Preparation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 3


def extractors_of(rows: Sequence[Sequence[Run]]) -> tuple[str, ...]:
    """The features of pixels in the recipes of these rows, as recipes write them, each once."""
    registry = load_registry()
    found: dict[str, None] = {}
    for row in rows:
        if row[0].kind is not RunKind.submitted:
            for feature in parse_recipe(row[0].conditions.recipe, registry).features:
                if feature.extractor.image_size is not None:
                    found[feature.text] = None
    return tuple(found)


def keypoint_figures(
    run: Run, features: Sequence[str], data: str | None, cache: Path, display: Display
) -> Iterator[tuple[str, Figure]]:
    """A figure for each of the first `IMAGES` test images, with a panel for each feature.

    Images are read from ``data``, by default from where the run found them.

    Raises
    ------
    DataError : the images are not there.
    """
    registry = load_registry()
    dataset = find_dataset(data or data_of(run), registry, Path.cwd())
    cohort = load_cohort(dataset, display, cache)
    place = {name: row for row, name in enumerate(cohort.image_ids)}
    chosen = [name for name in read_predictions(run).image_ids.tolist() if name in place][:IMAGES]
    if not chosen:
        raise DataError(
            f"{cohort.name!r} has none of the test images of the run {run.name!r}",
            expected="the run's own images",
            found=f"{len(cohort):,} others",
            fix="name the run's data with --data",
        )
    settings = run.conditions.settings
    extractors = [parse_recipe(text, registry).features[0].extractor for text in features]
    sides = {e.name: e.image_size for e in extractors if e.image_size is not None}
    wanted = Preparation(
        image_sizes=tuple(sorted(set(sides.values()))),
        extractors=tuple(extractors),
        fit=settings["fit"],
        clahe=settings["clahe"],
        max_pixels=settings["max_pixels"],
    )
    rows = [place[name] for name in chosen]
    for film in films_of_cohort(dataset, cohort, rows, wanted.max_pixels):
        prepared = prepare_film(film, wanted)
        if prepared.reason is not None:
            display.say(f"keypoints: {film.name}: {prepared.reason}")
            continue
        yield f"keypoints-{film.name}", keypoints_figure(prepared, sides, wanted.fit)
