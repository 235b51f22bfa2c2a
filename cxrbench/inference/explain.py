"""``cxrbench explain``: find images, explain them, and write a figure for each label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cxrbench.data.datasets import find_dataset, load_cohort
from cxrbench.data.files import image_stem
from cxrbench.errors import RecipeError, SettingsError
from cxrbench.inference.explanation import (
    LabelChoice,
    LabelExplanation,
    explain_images,
    require_labels,
)
from cxrbench.inference.images import ImageSource, InputImage, readers_of
from cxrbench.inference.inputs import ready_batches
from cxrbench.inference.overlays import keypoints_figure, label_figure, save
from cxrbench.inference.saliency.maps import Saliency, choose_method
from cxrbench.inference.trained import load_trained
from cxrbench.interfaces import Cohort, Dataset, Display
from cxrbench.modeling.backend import choose_device, device_scope
from cxrbench.output.sections import CellTable, Column, Section, number, text_column
from cxrbench.recipe import Recipe, parse_recipe
from cxrbench.registry import Registry, load_registry
from cxrbench.settings import resolve_settings
from cxrbench.store.image_pass import Preparation


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


@dataclass(frozen=True)
class ExplanationFile:
    """A figure that was written, with its values; None if unknown or if it does not apply."""

    file: str
    label: str | None = None
    probability: float | None = None
    threshold: float | None = None
    truth: int | None = None
    boxes: int = 0
    flat: bool | None = None
    hit: float | None = None
    energy: float | None = None
    iou: float | None = None


@dataclass(frozen=True)
class ExplainedImage:
    """The figures of one image, or the ``error`` why there are none."""

    image: str
    error: str | None
    pictures: tuple[ExplanationFile, ...] = ()


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
        empty = dict.fromkeys(field.name for field in fields(ExplanationFile))
        return [
            {
                "image": image.image,
                **(empty if figure is None else asdict(figure)),
                "error": image.error,
            }
            for image in self.images
            for figure in image.pictures or (None,)
        ]

    def sections(self) -> tuple[Section, ...]:
        """A table of the figures; images without figures are notes."""
        figures = [figure for image in self.images for figure in image.pictures]
        # Keypoints alone have no label, and without --data there are no boxes.
        width = 1
        if any(figure.label is not None for figure in figures):
            width = 8 if any(figure.hit is not None for figure in figures) else 5
        rows = tuple(_cells(figure)[:width] for figure in figures)
        count = f"{len(figures):,} {'figure' if len(figures) == 1 else 'figures'}"
        return (
            Section(
                f"{count} written to {self.folder}",
                (CellTable(_COLUMNS[:width], rows),) if rows else (),
                tuple(f"{i.image}: {i.error}" for i in self.images if i.error is not None),
            ),
        )


_COLUMNS = (
    text_column("file"),
    text_column("label"),
    *map(Column, ("probability", "threshold", "truth", "hit", "energy", "IoU")),
)


def _cells(figure: ExplanationFile) -> tuple[str, ...]:
    scores = (number(value, ".3f") for value in (figure.hit, figure.energy, figure.iou))
    return (
        Path(figure.file).name,
        figure.label or "",
        number(figure.probability, ".3f"),
        number(figure.threshold, ".3f"),
        {1: "present", 0: "absent", None: "–"}[figure.truth],
        *scores,
    )


def draw_explanations(
    run: Path, inputs: Sequence[str], options: ExplainOptions, display: Display
) -> ExplainedImages:
    """Explain images by the model of a run, a PNG for each image and label.

    Raises
    ------
    SettingsError, RunError, DataError : for what the user can mend.
    """
    registry = load_registry()
    with device_scope(choose_device(resolve_settings({"device": options.device}, {}).device)):
        display.say("loading the model…")
        trained = load_trained(run, registry)
        saliency = Saliency(
            trained, choose_method(options.method, trained), threads=options.threads
        )
        labels = require_labels(options.labels, trained)
        images, cohort = _images(inputs, options, registry, display)
        choice = LabelChoice(labels, options.top, options.iou_threshold)
        files = _FileNames(options.output)
        written = []
        with (
            closing(explain_images(saliency, images, choice, cohort)) as explained,
            display.task("explaining", len(images)) as advance,
        ):
            for explanation in explained:
                image = explanation.image
                figures = []
                for label in explanation.labels:
                    path = files.path(image.name, label.label)
                    save(label_figure(image, label, options.iou_threshold), path)
                    figures.append(_file_of(path, label))
                written.append(ExplainedImage(image.name, image.reason, tuple(figures)))
                advance()
    return ExplainedImages(options.output, tuple(written))


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
    files, written = _FileNames(options.output), []
    with (
        display.task("drawing", len(images)) as advance,
        closing(ready_batches(images, preparation, threads=options.threads)) as batches,
    ):
        for (image,) in batches:
            figure = keypoints_figure(image) if image.reason is None else None
            figures = []
            if figure is not None:
                path = files.path(image.name, "+".join(image.sides))
                save(figure, path)
                figures.append(ExplanationFile(str(path)))
            reason = image.reason or (None if figures else "the features have no keypoints")
            written.append(ExplainedImage(image.name, reason, tuple(figures)))
            advance()
    return ExplainedImages(options.output, tuple(written))


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
    known: tuple[Dataset, Cohort] | None = None
    if options.data is not None:
        dataset = find_dataset(options.data, registry, Path.cwd())
        known = (dataset, load_cohort(dataset, display, options.cache))
    source = ImageSource(tuple(map(Path, inputs)), readers_of(registry), known=known)
    return list(source), known and known[1]


def _extractors(text: str, registry: Registry) -> Recipe:
    recipe = parse_recipe(text, registry)
    if recipe.backbone is not None or all(f.extractor.image_size is None for f in recipe.features):
        raise RecipeError(
            f"--extractor {text} is not a keypoint extractor",
            expected="one or more features of the image, such as orb or orb+sift",
            found=text,
        )
    return recipe


def _file_of(path: Path, label: LabelExplanation) -> ExplanationFile:
    names = ("label", "probability", "threshold", "truth", "flat", "hit", "energy", "iou")
    values: Mapping[str, Any] = {name: getattr(label, name) for name in names}
    return ExplanationFile(file=str(path), boxes=len(label.boxes), **values)


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
