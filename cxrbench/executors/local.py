"""The local executor: images by threads, runs one after another, all in this process."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Generator, Iterable

from cxrbench.data.image_pass import PreparedImage, in_order
from cxrbench.executors.interface import Item, Place, Result
from cxrbench.interfaces import Display


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
