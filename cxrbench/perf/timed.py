"""Timed hot paths: of recipes, and of parts beside one another; as tables and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.output.formats import print_section
from cxrbench.output.sections import CellTable, Column, Section, text_column
from cxrbench.output.show import plain_console
from cxrbench.perf.alone import CallTimes
from cxrbench.registry import Plugin

PATH_FAMILIES = {"feature": "extract", "backbone": "forward"}
"""The family of hot paths that times a part of this kind."""


@dataclass(frozen=True)
class Candidate:
    """A ``feature`` or ``backbone``, as a recipe writes it.

    ``image_size`` is its own, None for one without pixels.
    """

    kind: str
    text: str
    image_size: int | None
    package: str
    version: str

    @property
    def path(self) -> str:
        """The hot path that it is timed by."""
        return f"{PATH_FAMILIES[self.kind]}/{self.text}"

    @property
    def is_backbone(self) -> bool:
        """Whether its images can have another size than its own."""
        return self.kind == "backbone"


@dataclass(frozen=True)
class TimedPath:
    """A path with its sample, or with the error that there is instead of one.

    ``share`` is of a first run of the recipe; None for what is part of another path, and where a
    path of the recipe has no sample.
    """

    path: str
    image_size: int
    sample: CallTimes | None
    error: str | None = None
    share: float | None = None

    @property
    def p50(self) -> float | None:
        """Seconds of a call in the median."""
        return None if self.sample is None else float(np.percentile(self.sample.calls, 50))

    @property
    def p95(self) -> float | None:
        """Seconds that 95 % of the calls did not take."""
        return None if self.sample is None else float(np.percentile(self.sample.calls, 95))

    @property
    def images_per_second(self) -> float | None:
        """By all its threads together; None where a path has no images."""
        if self.sample is None or not self.sample.images:
            return None
        return self.sample.images * len(self.sample.calls) / self.sample.wall

    @property
    def seconds_each(self) -> float | None:
        """For an image, or a call where a path has no images; by all its threads together."""
        each = self.images_per_second
        return self.p50 if each is None else 1 / each


@dataclass(frozen=True)
class TimedRecipe:
    """A recipe's paths in the order of a run; ``epochs`` is what the shares are of."""

    recipe: str
    image_size: int | None
    batch_size: int
    epochs: int
    paths: tuple[TimedPath, ...]


@dataclass(frozen=True)
class TimedPart:
    """An extractor or a backbone beside others."""

    part: Candidate
    timed: TimedPath


@dataclass(frozen=True)
class Timing:
    """Everything that was timed, on how many ``films`` of which ``data``.

    ``device`` and ``backend`` are None where no network was timed. ``broken`` are the plugins whose
    parts would have been among ``parts``.
    """

    data: str
    films: int
    device: str | None
    backend: str | None
    recipes: tuple[TimedRecipe, ...]
    parts: tuple[TimedPart, ...]
    broken: tuple[Plugin, ...]


_MEASURED = ("p50", "p95", "images/s", "memory")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_NOTES = (
    "p50, p95: of a call, which works on so many images. images/s: of all threads together. "
    "memory: what a path adds to the peak of its process, without a GPU's.",
    "share: of the time of all paths in a first run, estimated; – is part of another path.",
)


def print_timing(timing: Timing, output: str) -> None:
    """Print a table for each recipe and one of the parts, as ``table`` or ``json``."""
    if output == "json":
        print(json.dumps(_as_json(timing), indent=2, allow_nan=False))
        return
    console = plain_console()
    for recipe in timing.recipes:
        print_section(console, _of_recipe(recipe, timing))
    if timing.parts or timing.broken:
        print_section(console, _of_parts(timing))


def _of_recipe(recipe: TimedRecipe, timing: Timing) -> Section:
    columns = (text_column("path", 8), *map(Column, ("images", *_MEASURED, "threads", "share")))
    rows = tuple(
        (
            _short(path),
            "–" if path.sample is None else f"{path.sample.images or '–'}",
            *_measured(path),
            _threads(path),
            "–" if path.share is None else f"{path.share:.1%}",
        )
        for path in recipe.paths
    )
    failed = tuple(f"{_short(one)} failed: {one.error}" for one in recipe.paths if one.error)
    notes = (*failed, *(_NOTES if recipe is timing.recipes[-1] else ()))
    return Section(_title(recipe, timing), (CellTable(columns, rows),), notes)


def _title(recipe: TimedRecipe, timing: Timing) -> str:
    size = "" if recipe.image_size is None else f", images of {recipe.image_size} pixels"
    where = "" if timing.device is None else f", {timing.backend} on {timing.device}"
    return (
        f"{recipe.recipe} on {timing.films} films of {timing.data}{size}, batches of "
        f"{recipe.batch_size}{where}; shares of a run of {recipe.epochs} epochs"
    )


def _of_parts(timing: Timing) -> Section:
    columns = (
        *(text_column(name, 8) for name in ("part", "package")),
        *map(Column, ("images", "size", *_MEASURED)),
    )
    rows = tuple(
        (
            one.part.text,
            one.part.package,
            "–" if one.timed.sample is None else str(one.timed.sample.images),
            _size(one),
            *_measured(one.timed),
        )
        for one in timing.parts
    )
    failed = [
        f"{one.part.text} failed: {one.timed.error}" for one in timing.parts if one.timed.error
    ]
    broken = [f"{_line(plugin)} is broken: {plugin.error}" for plugin in timing.broken]
    title = "extractors and backbones beside one another"
    return Section(title, (CellTable(columns, rows),), (*failed, *broken))


def _measured(path: TimedPath) -> tuple[str, ...]:
    memory = None if path.sample is None else path.sample.memory
    return (
        _duration(path.p50),
        _duration(path.p95),
        _rate(path.images_per_second),
        "–" if memory is None else _memory(memory),
    )


def _short(path: TimedPath) -> str:
    """The recipe is in the title, so that its name need not be in the way of the numbers."""
    family, _, rest = path.path.partition("/")
    return family if family in ("train-step", "predict") else f"{family} {rest}".strip()


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    scale, unit = next((s, u) for s, u in _UNITS if seconds >= s or s == _UNITS[-1][0])
    value = seconds / scale
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _memory(size: int) -> str:
    value, unit = (size / 1e9, "GB") if size >= 999.5e6 else (size / 1e6, "MB")
    return f"{value:.{0 if value >= 10 else 1}f} {unit}"


def _rate(rate: float | None) -> str:
    if rate is None:
        return "–"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _threads(path: TimedPath) -> str:
    if path.sample is None:
        return "–"
    return "gpu" if path.sample.threads is None else str(path.sample.threads)


def _size(one: TimedPart) -> str:
    size = one.timed.image_size if one.part.is_backbone else one.part.image_size
    return "–" if size is None else str(size)


def _line(plugin: Plugin) -> str:
    return f"{plugin.name} ({plugin.package or 'no package'})"


def _as_json(timing: Timing) -> dict[str, Any]:
    return {
        "data": timing.data,
        "films": timing.films,
        "device": timing.device,
        "backend": timing.backend,
        "recipes": [
            {
                "recipe": one.recipe,
                "image_size": one.image_size,
                "batch_size": one.batch_size,
                "epochs": one.epochs,
                "paths": [{**_path_as_json(path), "share": path.share} for path in one.paths],
            }
            for one in timing.recipes
        ],
        "parts": [
            {
                "kind": one.part.kind,
                "part": one.part.text,
                "package": one.part.package,
                "version": one.part.version,
                **_path_as_json(one.timed),
            }
            for one in timing.parts
        ],
        "broken": [
            {"plugin": one.name, "package": one.package, "error": one.error}
            for one in timing.broken
        ],
    }


def _path_as_json(path: TimedPath) -> dict[str, Any]:
    sample = path.sample
    return {
        "path": path.path,
        "image_size": path.image_size,
        "step": None if sample is None else sample.step,
        "images": None if sample is None else sample.images,
        "calls": None if sample is None else len(sample.calls),
        "p50_seconds": path.p50,
        "p95_seconds": path.p95,
        "images_per_second": path.images_per_second,
        "memory_bytes": None if sample is None else sample.memory,
        "threads": None if sample is None else sample.threads,
        "set_up_seconds": None if sample is None else sample.set_up_seconds,
        "first_call_seconds": None if sample is None else sample.first_call_seconds,
        "error": path.error,
    }
