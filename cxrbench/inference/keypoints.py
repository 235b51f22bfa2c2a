"""The keypoints that a row's extractors find in some test images, for the figures of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.errors import DataError
from cxrbench.inference.images import cohort_images, run_cohort
from cxrbench.inference.inputs import ready_image
from cxrbench.inference.overlays import keypoints_figure
from cxrbench.inference.trained import preparation_of
from cxrbench.interfaces import Display
from cxrbench.recipe import parse_recipe
from cxrbench.registry import load_registry
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 3


def extractors_of(rows: Sequence[Sequence[Run]]) -> tuple[str, ...]:
    """The features of pixels in the recipes of these rows, as recipes write them, each once."""
    registry = load_registry()
    texts: dict[str, None] = {}
    for row in rows:
        if row[0].kind is not RunKind.submitted:
            for feature in parse_recipe(row[0].conditions.recipe, registry).features:
                if feature.extractor.image_size is not None:
                    texts[feature.text] = None
    return tuple(texts)


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
    dataset, cohort = run_cohort(run, data, registry, cache, display)
    place = {name: row for row, name in enumerate(cohort.image_ids)}
    names = [name for name in read_predictions(run).image_ids.tolist() if name in place][:IMAGES]
    if not names:
        raise DataError(
            f"{cohort.name!r} has none of the test images of the run {run.name!r}",
            expected="the run's images",
            found=f"{len(cohort):,} other images",
            fix="name the run's data with --data",
        )
    extractors = [parse_recipe(text, registry).features[0].extractor for text in features]
    preparation = preparation_of(run, extractors)
    for image in cohort_images(dataset, cohort, [place[name] for name in names]):
        ready = ready_image(image, preparation)
        figure = keypoints_figure(ready) if ready.reason is None else None
        if figure is None:
            reason = ready.reason or "the features have no keypoints"
            display.say(f"keypoints: {image.name}: {reason}")
        else:
            yield f"keypoints-{image.name}", figure
