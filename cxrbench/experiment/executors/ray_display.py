"""Progress of work on other nodes: events in a queue, shown by the one display of the command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from cxrbench.interfaces import Advance, Display

# A bar needs no more, and every event is a message to another machine.
_SECONDS_BETWEEN_STEPS = 0.2


@dataclass(frozen=True)
class Began:
    """A call began on a node."""

    call: str
    node: str


@dataclass(frozen=True)
class Said:
    """A line."""

    call: str
    text: str


@dataclass(frozen=True)
class Opened:
    """A bar was opened; bars are numbered within their call."""

    call: str
    bar: int
    description: str
    total: int


@dataclass(frozen=True)
class Advanced:
    """A bar went on."""

    call: str
    bar: int
    steps: int
    detail: str


@dataclass(frozen=True)
class Closed:
    """A bar was closed."""

    call: str
    bar: int


Event = Began | Said | Opened | Advanced | Closed


class RemoteDisplay:
    """The `Display` of a call on another node; ``label`` says whose lines and bars these are."""

    def __init__(self, queue: Any, call: str, label: str) -> None:
        self._queue = queue
        self._call = call
        self._label = label
        self._bars = count()

    def began(self, node: str) -> None:
        """Tell the node."""
        self._queue.put(Began(self._call, node))

    def say(self, text: str) -> None:
        """Send a line, with the label unless it begins with it."""
        whole = text if text.startswith(self._label) else f"{self._label}: {text.strip()}"
        self._queue.put(Said(self._call, whole))

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Send what becomes of a bar, its steps a few times a second."""
        bar = next(self._bars)
        self._queue.put(Opened(self._call, bar, f"{self._label}: {description}", total))
        unsent, told, sent = 0, "", time.monotonic()

        def send() -> None:
            nonlocal unsent, sent
            self._queue.put(Advanced(self._call, bar, unsent, told))
            unsent, sent = 0, time.monotonic()

        def advance(steps: int = 1, detail: str = "") -> None:
            nonlocal unsent, told
            unsent, told = unsent + steps, detail or told
            if time.monotonic() - sent >= _SECONDS_BETWEEN_STEPS:
                send()

        try:
            yield advance
        finally:
            if unsent:
                send()
            self._queue.put(Closed(self._call, bar))


class Relay:
    """Shows the events of all calls on one display.

    A call that was lost may still send: what is not `expect`-ed is dropped.
    """

    def __init__(self, queue: Any, display: Display) -> None:
        self._queue = queue
        self._display = display
        self._bars: dict[str, dict[int, tuple[ExitStack, Advance]]] = {}
        self._nodes: dict[str, str] = {}

    def expect(self, call: str) -> None:
        """Show what this call sends from now on."""
        self._bars[call] = {}

    def forget(self, call: str) -> str | None:
        """Close the bars of a call; the node that it began on, None if it did not."""
        for stack, _ in self._bars.pop(call, {}).values():
            stack.close()
        return self._nodes.pop(call, None)

    def drain(self) -> None:
        """Show all that has arrived."""
        waiting = self._queue.qsize()
        for event in self._queue.get_nowait_batch(waiting) if waiting else ():
            if event.call in self._bars:
                self._show(event, self._bars[event.call])

    def _show(self, event: Event, bars: dict[int, tuple[ExitStack, Advance]]) -> None:
        match event:
            case Began():
                self._nodes[event.call] = event.node
            case Said():
                self._display.say(event.text)
            case Opened():
                stack = ExitStack()
                task = self._display.task(event.description, event.total)
                bars[event.bar] = stack, stack.enter_context(task)
            case Advanced():
                bars[event.bar][1](event.steps, event.detail)
            case Closed():
                bars.pop(event.bar)[0].close()
