"""What an executor does, and the values that pass to and from it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from cxrbench.interfaces import Display
from cxrbench.store.image_pass import PreparedImage, in_order

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Needs:
    """What a command needs of an executor, to be checked before the work begins.

    ``runs`` and ``cache`` have to be the same folders wherever a run is computed. ``device`` and
    ``devices`` are what a run computes on. ``threads`` is how many images are read at once, None
    for all that can be. ``parts`` are the parts of the recipes and the dataset: their code has to
    be the same everywhere.
    """

    runs: Path
    cache: Path
    device: Literal["auto", "cpu", "gpu"]
    devices: int
    threads: int | None
    parts: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Place:
    """Where a piece of work is done, and where it reports.

    ``attempt`` counts from 0; it is more where a node was lost with the attempts before.
    """

    executor: str
    node: str
    display: Display
    attempt: int = 0


class Executor(Protocol):
    """Prepares images and computes runs, here or elsewhere; results come back in order."""

    @property
    def threads(self) -> int:
        """How many images are read at once."""

    def in_order(
        self, work: Callable[[int], PreparedImage], rows: Iterable[int], threads: int
    ) -> Generator[PreparedImage, None, None]:
        """What ``work`` makes of each row, in order, a bounded number of them ahead."""

    def compute(
        self, work: Callable[[Item, Place], Result], items: Iterable[tuple[str, Item]]
    ) -> list[Result]:
        """What ``work`` makes of each item, on the devices of a run; the texts name the items.

        ``work``, items and results can be pickled; what they share lies in the runs and the cache.
        """


class LocalExecutor:
    """Does everything here; ``threads`` None means one for each core."""

    def __init__(self, display: Display, threads: int | None) -> None:
        self._place = Place("local", platform.node(), display)
        self.threads = threads or len(os.sched_getaffinity(0))

    def in_order(
        self, work: Callable[[int], PreparedImage], rows: Iterable[int], threads: int
    ) -> Generator[PreparedImage, None, None]:
        """As `Executor.in_order`."""
        return in_order(work, rows, threads)

    def compute(
        self, work: Callable[[Item, Place], Result], items: Iterable[tuple[str, Item]]
    ) -> list[Result]:
        """As `Executor.compute`; an item is taken when the one before it is done."""
        return [work(item, self._place) for _, item in items]
