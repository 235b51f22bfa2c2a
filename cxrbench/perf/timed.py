"""What was timed: paths, the recipes that they are of, and parts beside one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrbench.perf.alone import Sample
from cxrbench.perf.parts import Candidate
from cxrbench.registry import Plugin


@dataclass(frozen=True)
class TimedPath:
    """A path with its sample, or with the error that there is instead of one.

    ``share`` is of a first run of the recipe; None for what is part of another path, and where a
    path of the recipe has no sample.
    """

    path: str
    image_size: int
    sample: Sample | None
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
