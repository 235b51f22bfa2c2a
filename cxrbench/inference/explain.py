"""What ``cxrbench explain`` does: find images, explain them, write a picture for each label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cxrbench.data.datasets import find_dataset, load_cohort
from cxrbench.data.image_files import image_stem
from cxrbench.errors import RecipeError, SettingsError
from cxrbench.inference.explanation import LabelExplanation, Wanted, explain_films, require_labels
from cxrbench.inference.films import Film, films_of, prepare_film, wanted_of
from cxrbench.inference.overlays import keypoints_figure, label_figure, save
from cxrbench.inference.saliency.maps import Saliency, choose_method
from cxrbench.inference.sources import readers_of
from cxrbench.inference.trained import load_trained
from cxrbench.interfaces import Cohort, Dataset, Display
from cxrbench.modeling.backend import choose_device, device_scope
from cxrbench.recipe import Recipe, parse_recipe
from cxrbench.registry import Registry, load_registry
from cxrbench.settings import resolve_settings
from cxrbench.store.image_pass import Preparation, in_order, quiet_single_threaded_libraries


@dataclass(frozen=True)
class Asked:
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
class Picture:
    """A file that was written, and what it tells; None where it is unknown or does not apply."""

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
class Written:
    """What was written of one image, or the ``error`` why there is nothing."""

    image: str
    error: str | None
    pictures: tuple[Picture, ...] = ()


def draw_explanations(
    run: Path, inputs: Sequence[str], asked: Asked, display: Display
) -> list[Written]:
    """Explain images by the model of a run, a PNG for each image and label.

    Raises
    ------
    SettingsError, RunError, DataError : for what the user can mend.
    """
    registry = load_registry()
    with device_scope(choose_device(resolve_settings({"device": asked.device}, {}).device)):
        trained = load_trained(run, registry)
        method = choose_method(asked.method, trained)
        labels = require_labels(asked.labels, trained)
        preparation = wanted_of(trained)
        films, known = _films(inputs, asked, registry, preparation.max_pixels, display)
        saliency = Saliency(trained, method, threads=asked.threads)
        wanted = Wanted(labels, asked.top, asked.iou_threshold)
        sides = _sides(trained.recipe)
        explained = explain_films(saliency, films, wanted, known[1] if known else None)
        files = _Files(asked.output)
        written = []
        with closing(explained), display.task("explaining", len(films)) as advance:
            for told in explained:
                pictures = []
                for label in told.labels:
                    path = files.path(told.film.film.name, label.label)
                    figure = label_figure(
                        told.film, label, sides, preparation.fit, asked.iou_threshold
                    )
                    save(figure, path)
                    pictures.append(_picture(path, label))
                written.append(Written(told.film.film.name, told.film.reason, tuple(pictures)))
                advance()
    return written


def draw_extractors(
    text: str, inputs: Sequence[str], asked: Asked, display: Display
) -> list[Written]:
    """Draw the keypoints that extractors find, a PNG for each image; no run is needed.

    Raises
    ------
    RecipeError, DataError : for what the user can mend.
    """
    registry = load_registry()
    recipe = _extractors(text, registry)
    sides = _sides(recipe)
    wanted = Preparation(extractors=tuple(f.extractor for f in recipe.features))
    films, _ = _films(inputs, asked, registry, wanted.max_pixels, display)
    files, written = _Files(asked.output), []
    work = partial(prepare_film, wanted=wanted)
    with (
        quiet_single_threaded_libraries(),
        display.task("drawing", len(films)) as advance,
        closing(in_order(work, films, asked.threads)) as ready,
    ):
        for film in ready:
            pictures = []
            if film.reason is None:
                path = files.path(film.film.name, "+".join(sides))
                save(keypoints_figure(film, sides, wanted.fit), path)
                pictures.append(Picture(str(path)))
            written.append(Written(film.film.name, film.reason, tuple(pictures)))
            advance()
    return written


def _films(
    inputs: Sequence[str], asked: Asked, registry: Registry, max_pixels: int, display: Display
) -> tuple[list[Film], tuple[Dataset, Cohort] | None]:
    """Every film that is named, none of them read, and the cohort of ``--data``."""
    if not inputs:
        raise SettingsError(
            "no image is named",
            expected="image files, folders, tables of paths, or image ids of --data",
            found="nothing behind the run",
        )
    known = None
    if asked.data is not None:
        dataset = find_dataset(asked.data, registry, Path.cwd())
        known = (dataset, load_cohort(dataset, display, asked.cache))
    readers = readers_of(registry)
    return list(films_of([Path(text) for text in inputs], readers, max_pixels, known)), known


def _sides(recipe: Recipe) -> dict[str, int]:
    """The side of what each extractor of pixels sees, by its name."""
    return {
        feature.name: feature.extractor.image_size
        for feature in recipe.features
        if feature.extractor.image_size is not None
    }


def _extractors(text: str, registry: Registry) -> Recipe:
    recipe = parse_recipe(text, registry)
    if recipe.backbone is not None or not _sides(recipe):
        raise RecipeError(
            f"--extractor {text} names no extractor of keypoints alone",
            expected="one or more features of the image, such as orb or orb+sift",
            found=text,
        )
    return recipe


def _picture(path: Path, label: LabelExplanation) -> Picture:
    return Picture(
        file=str(path),
        label=label.label,
        probability=label.probability,
        threshold=label.threshold,
        truth=label.truth,
        boxes=len(label.boxes),
        flat=label.flat,
        hit=label.hit,
        energy=label.energy,
        iou=label.iou,
    )


class _Files:
    """Names of files in a folder: no two the same, whatever images are called."""

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

    def path(self, image: str, what: str) -> Path:
        name = re.sub(r"[^A-Za-z0-9+@.=_-]", "_", f"{image_stem(image)}-{what}")[:150]
        self._used[name.lower()] += 1
        again = self._used[name.lower()]
        return self._folder / (f"{name}.png" if again == 1 else f"{name}-{again}.png")
