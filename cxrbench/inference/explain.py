"""Figures of explanations for ``cxrbench explain``, and of keypoints for ``cxrbench figures``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.data.datasets import find_dataset, load_cohort
from cxrbench.data.files import image_stem
from cxrbench.errors import DataError, RecipeError, SettingsError
from cxrbench.inference.explanation import (
    LabelChoice,
    LabelExplanation,
    explain_images,
    require_labels,
)
from cxrbench.inference.images import ImageSource, InputImage, cohort_images, readers_of, run_cohort
from cxrbench.inference.inputs import ready_batches, ready_image
from cxrbench.inference.overlays import keypoints_figure, label_figure, save
from cxrbench.inference.saliency import Saliency, choose_method
from cxrbench.inference.seeds import load_seeds
from cxrbench.inference.trained import on_device, preparation_of
from cxrbench.interfaces import Cohort, Dataset, Display
from cxrbench.output.sections import CellTable, Column, Section, number, text_column
from cxrbench.recipe import Recipe, parse_recipe
from cxrbench.registry import Registry, load_registry
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import Run
from cxrbench.store.image_pass import Preparation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


KEYPOINT_IMAGES = 3
"""Test images with keypoints among the figures of runs."""


@dataclass(frozen=True)
class ExplainOptions:
    """The options of the command."""

    labels: tuple[str, ...]
    top: int
    method: str
    data: str | None
    output: Path
    iou_threshold: float
    device: str
    cache: Path
    threads: int
    accept_unknown: bool = False


_VALUES = (
    *("label", "seed", "probability", "threshold", "truth", "boxes"),
    *("flat", "hit", "energy", "iou"),
)
_COLUMNS = (
    text_column("file"),
    text_column("label"),
    Column("seed"),
    *map(Column, ("probability", "threshold", "truth", "hit", "energy", "IoU")),
)
_SEED = 2


@dataclass(frozen=True)
class ExplainedImage:
    """The figures of one image, with their values as JSON has them, or the ``error``."""

    image: str
    error: str | None
    pictures: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ExplainedImages:
    """The figures of all images in a folder."""

    folder: Path
    images: tuple[ExplainedImage, ...]

    @property
    def succeeded(self) -> bool:
        """Whether any image could be explained."""
        return any(image.error is None for image in self.images)

    def to_json(self) -> dict[str, Any]:
        """``{"images": […]}``."""
        return {"images": self.images}

    def records(self) -> list[dict[str, Any]]:
        """A record for each figure, and one for each image without a figure."""
        return [
            {"image": image.image, **picture, "error": image.error}
            for image in self.images
            for picture in image.pictures or (_picture(None, None),)
        ]

    def sections(self) -> tuple[Section, ...]:
        """A table of the figures; images without figures are notes."""
        pictures = [picture for image in self.images for picture in image.pictures]
        # Keypoints alone have no label, and without --data there are no boxes.
        places = [0]
        if any(picture["label"] is not None for picture in pictures):
            width = 9 if any(picture["hit"] is not None for picture in pictures) else 6
            several = any(picture["seed"] is not None for picture in pictures)
            places = [place for place in range(width) if several or place != _SEED]
        rows = tuple(tuple(cells[place] for place in places) for cells in map(_cells, pictures))
        count = f"{len(rows):,} {'figure' if len(rows) == 1 else 'figures'}"
        return (
            Section(
                f"{count} written to {self.folder}",
                (CellTable(tuple(_COLUMNS[place] for place in places), rows),) if rows else (),
                tuple(f"{i.image}: {i.error}" for i in self.images if i.error is not None),
            ),
        )


def _picture(path: Path | None, label: LabelExplanation | None) -> dict[str, Any]:
    """A figure and its values; None if unknown, or without a label."""
    values = {name: getattr(label, name, None) for name in _VALUES}
    values["boxes"] = 0 if label is None else len(label.boxes)
    return {"file": None if path is None else str(path), **values}


def _cells(picture: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        Path(picture["file"]).name,
        picture["label"] or "",
        str(picture["seed"]),
        *(number(picture[name], ".3f") for name in ("probability", "threshold")),
        {1: "present", 0: "absent", None: "–"}[picture["truth"]],
        *(number(picture[name], ".3f") for name in ("hit", "energy", "iou")),
    )


def draw_explanations(
    runs: Sequence[Run], inputs: Sequence[str], options: ExplainOptions, display: Display
) -> ExplainedImages:
    """Explain images by the model of a run, a PNG for each image and label.

    Several runs are the seeds of a recipe: each has figures of its own, of the same labels.

    Raises
    ------
    SettingsError, RunError, DataError : for what the user can mend.
    """
    registry = load_registry()
    images, cohort = _images(inputs, options, registry, display)
    with on_device(options.device, display):
        display.say(f"loading the model{'s' if len(runs) > 1 else ''}…")
        models = load_seeds(runs, registry)
        method = choose_method(options.method, models[0])
        saliencies = [Saliency(model, method, threads=options.threads) for model in models]
        labels = require_labels(options.labels, models[0])
        choice = LabelChoice(labels, options.top, options.iou_threshold)
        files = _FileNames(options.output)
        results = []
        with (
            closing(explain_images(saliencies, images, choice, cohort)) as explained,
            display.task("explaining", len(images)) as advance,
        ):
            for explanation in explained:
                image = explanation.image
                pictures = []
                for label in explanation.labels:
                    of_seed = "" if label.seed is None else f"-seed{label.seed}"
                    path = files.path(image.name, f"{label.label}{of_seed}")
                    save(label_figure(image, label, options.iou_threshold), path)
                    pictures.append(_picture(path, label))
                results.append(ExplainedImage(image.name, image.reason, tuple(pictures)))
                advance()
    return ExplainedImages(options.output, tuple(results))


def draw_extractors(
    text: str, inputs: Sequence[str], options: ExplainOptions, display: Display
) -> ExplainedImages:
    """Draw the keypoints that extractors find, a PNG for each image; no run is needed.

    Raises
    ------
    RecipeError, DataError : for what the user can mend.
    """
    registry = load_registry()
    recipe = _extractors(text, registry)
    preparation = Preparation(extractors=tuple(f.extractor for f in recipe.features))
    images, _ = _images(inputs, options, registry, display)
    files, results = _FileNames(options.output), []
    with (
        display.task("drawing", len(images)) as advance,
        closing(ready_batches(images, preparation, threads=options.threads)) as batches,
    ):
        for (image,) in batches:
            figure = keypoints_figure(image) if image.reason is None else None
            pictures = []
            if figure is not None:
                path = files.path(image.name, "+".join(image.sides))
                save(figure, path)
                pictures.append(_picture(path, None))
            reason = image.reason or (None if pictures else "the features have no keypoints")
            results.append(ExplainedImage(image.name, reason, tuple(pictures)))
            advance()
    return ExplainedImages(options.output, tuple(results))


def _images(
    inputs: Sequence[str], options: ExplainOptions, registry: Registry, display: Display
) -> tuple[list[InputImage], Cohort | None]:
    """Each image that is named, none of them read, and the cohort of ``--data``."""
    if not inputs:
        raise SettingsError(
            "no image is named",
            expected="image files, folders, tables of paths, or image ids of --data",
            found="nothing after the run",
        )
    cohort: tuple[Dataset, Cohort] | None = None
    if options.data is not None:
        dataset = find_dataset(options.data, registry, Path.cwd())
        cohort = (dataset, load_cohort(dataset, display, options.cache))
    readers = readers_of(registry, accept_unknown=options.accept_unknown)
    source = ImageSource(tuple(map(Path, inputs)), readers, cohort=cohort)
    return list(source), cohort and cohort[1]


def _extractors(text: str, registry: Registry) -> Recipe:
    recipe = parse_recipe(text, registry)
    if recipe.backbone is not None or all(f.extractor.image_size is None for f in recipe.features):
        raise RecipeError(
            f"--extractor {text} is not a keypoint extractor",
            expected="one or more features of the image, such as orb or orb+sift",
            found=text,
        )
    return recipe


class _FileNames:
    """Names of files in a folder, each used once, even if images have the same name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used: Counter[str] = Counter()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"--output {folder} cannot be written",
                expected="a folder, or a name for one",
                found=error.strerror or str(error),
                fix="choose another --output",
            ) from error

    def path(self, image: str, part: str) -> Path:
        name = re.sub(r"[^A-Za-z0-9+@.=_-]", "_", f"{image_stem(image)}-{part}")[:150]
        self._used[name.lower()] += 1
        again = self._used[name.lower()]
        return self._folder / (f"{name}.png" if again == 1 else f"{name}-{again}.png")


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
    """A figure for each of the first `KEYPOINT_IMAGES` test images, with a panel for each feature.

    Images are read from ``data``, by default from where the run found them.

    Raises
    ------
    DataError : the images are not there.
    """
    registry = load_registry()
    dataset, cohort = run_cohort(run, data, registry, cache, display)
    place = {name: row for row, name in enumerate(cohort.image_ids)}
    tested = read_predictions(run).image_ids.tolist()
    names = [name for name in tested if name in place][:KEYPOINT_IMAGES]
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
