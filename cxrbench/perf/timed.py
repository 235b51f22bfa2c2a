"""Timed hot paths: of recipes, and of extractors and backbones; as tables and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.output.sections import CellTable, Column, Section, text_column
from cxrbench.perf.alone import CallTimes
from cxrbench.registry import Plugin

_MEASURED = ("p50", "p95", "images/s", "memory")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_NOTES = (
    "p50, p95: percentiles of the time of one call, which processes this number of images. "
    "images/s: of all threads together. memory: additional peak memory of the path's process, "
    "without a GPU's.",
    "share: estimated share of the time of a first run; – is part of another path.",
)

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
    """A path with its sample, or with its error.

    ``share`` is of a first run of the recipe; None for a part of another path, and if a path of
    the recipe has no sample.
    """

    path: str
    image_size: int
    sample: CallTimes | None
    error: str | None = None
    share: float | None = None

    @property
    def p50(self) -> float | None:
        """Median seconds of a call."""
        return None if self.sample is None else float(np.percentile(self.sample.calls, 50))

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the seconds of a call."""
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

    @property
    def short_name(self) -> str:
        """Without the recipe, which the title of its table holds."""
        family, _, rest = self.path.partition("/")
        return family if family in ("train-step", "predict") else f"{family} {rest}".strip()

    def cells(self) -> tuple[str, ...]:
        """The texts of the columns `_MEASURED`."""
        memory = None if self.sample is None else self.sample.memory
        return (
            _duration(self.p50),
            _duration(self.p95),
            _rate(self.images_per_second),
            "–" if memory is None else _memory(memory),
        )

    def to_json(self) -> dict[str, Any]:
        """Everything about the path but its share; null for unknown values."""
        sample = self.sample
        return {
            "path": self.path,
            "image_size": self.image_size,
            "step": None if sample is None else sample.step,
            "images": None if sample is None else sample.images,
            "calls": None if sample is None else len(sample.calls),
            "p50_seconds": self.p50,
            "p95_seconds": self.p95,
            "images_per_second": self.images_per_second,
            "memory_bytes": None if sample is None else sample.memory,
            "threads": None if sample is None else sample.threads,
            "set_up_seconds": None if sample is None else sample.set_up_seconds,
            "first_call_seconds": None if sample is None else sample.first_call_seconds,
            "error": self.error,
        }


@dataclass(frozen=True)
class TimedRecipe:
    """A recipe's paths in the order of a run; ``epochs`` is what the shares are of."""

    recipe: str
    image_size: int | None
    batch_size: int
    epochs: int
    paths: tuple[TimedPath, ...]

    def section(self, conditions: str, notes: tuple[str, ...]) -> Section:
        """A row for each path."""
        columns = (text_column("path", 8), *map(Column, ("images", *_MEASURED, "threads", "share")))
        rows = tuple(
            (
                path.short_name,
                "–" if path.sample is None else f"{path.sample.images or '–'}",
                *path.cells(),
                _threads(path),
                "–" if path.share is None else f"{path.share:.1%}",
            )
            for path in self.paths
        )
        size = "" if self.image_size is None else f", image size {self.image_size}"
        title = (
            f"{self.recipe} on {conditions}{size}, batch size {self.batch_size}; "
            f"shares of a run of {self.epochs} epochs"
        )
        failed = (f"{one.short_name} failed: {one.error}" for one in self.paths if one.error)
        return Section(title, (CellTable(columns, rows),), (*failed, *notes))

    def to_json(self) -> dict[str, Any]:
        """The conditions, and every path with its share."""
        return {
            "recipe": self.recipe,
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "paths": [{**path.to_json(), "share": path.share} for path in self.paths],
        }


@dataclass(frozen=True)
class TimedPart:
    """An extractor or a backbone beside others."""

    part: Candidate
    timed: TimedPath

    @property
    def image_size(self) -> int | None:
        """The side of the images that it was timed on; None for a part without pixels."""
        return self.timed.image_size if self.part.is_backbone else self.part.image_size

    def to_json(self) -> dict[str, Any]:
        """The part, and what it took."""
        part = self.part
        identity = {"kind": part.kind, "part": part.text}
        return {
            **identity,
            "package": part.package,
            "version": part.version,
            **self.timed.to_json(),
        }


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

    def sections(self) -> tuple[Section, ...]:
        """A table for each recipe, and one of the parts."""
        where = "" if self.device is None else f", {self.backend} on {self.device}"
        conditions = f"{self.films} images of {self.data}{where}"
        recipes = tuple(
            recipe.section(conditions, _NOTES if recipe is self.recipes[-1] else ())
            for recipe in self.recipes
        )
        return (*recipes, self._parts()) if self.parts or self.broken else recipes

    def records(self) -> list[dict[str, Any]]:
        """One line for each path of each recipe, then one for each part."""
        recipes = [
            {"recipe": one.recipe, "package": "", **path.to_json(), "share": path.share}
            for one in self.recipes
            for path in one.paths
        ]
        parts = [
            {"recipe": "", "package": one.part.package, **one.timed.to_json(), "share": None}
            for one in self.parts
        ]
        return recipes + parts

    def to_json(self) -> dict[str, Any]:
        """Recipes, parts and broken plugins."""
        return {
            "data": self.data,
            "films": self.films,
            "device": self.device,
            "backend": self.backend,
            "recipes": [one.to_json() for one in self.recipes],
            "parts": [one.to_json() for one in self.parts],
            "broken": [
                {"plugin": one.name, "package": one.package, "error": one.error}
                for one in self.broken
            ],
        }

    def _parts(self) -> Section:
        columns = (
            *(text_column(name, 8) for name in ("part", "package")),
            *map(Column, ("images", "size", *_MEASURED)),
        )
        rows = tuple(
            (
                one.part.text,
                one.part.package,
                "–" if one.timed.sample is None else str(one.timed.sample.images),
                "–" if one.image_size is None else str(one.image_size),
                *one.timed.cells(),
            )
            for one in self.parts
        )
        failed = (
            f"{one.part.text} failed: {one.timed.error}" for one in self.parts if one.timed.error
        )
        broken = (
            f"{plugin.name} ({plugin.package or 'no package'}) is broken: {plugin.error}"
            for plugin in self.broken
        )
        table = CellTable(columns, rows)
        return Section("Extractors and backbones", (table,), (*failed, *broken))


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
