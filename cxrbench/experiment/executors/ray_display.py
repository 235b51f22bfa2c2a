"""Progress of work on other nodes: events in a queue, shown by the one display of the command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from cxrbench.interfaces import Advance, Display

# A bar needs no more, and every event is a message to another machine.
_SECONDS_BETWEEN_STEPS = 0.2


@dataclass(frozen=True)
class Event:
    """What a call sends; bars are numbered within their call.

    ``text`` is the node where it began, a line, or a bar's description or detail; ``number`` a
    bar's total or its new steps.
    """

    call: str
    kind: Literal["begin", "say", "open", "advance", "close"]
    text: str = ""
    bar: int = 0
    number: int = 0


class RemoteDisplay:
    """The `Display` of a call on another node; ``label`` says whose lines and bars these are."""

    def __init__(self, queue: Any, call: str, label: str) -> None:
        self._queue = queue
        self._call = call
        self._label = label
        self._bars = count()

    def began(self, node: str) -> None:
        """Send the node."""
        self._send("begin", node)

    def say(self, text: str) -> None:
        """Send a line, with the label unless it begins with it."""
        whole = text if text.startswith(self._label) else f"{self._label}: {text.strip()}"
        self._send("say", whole)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Send what becomes of a bar, its steps a few times a second."""
        bar = next(self._bars)
        self._send("open", f"{self._label}: {description}", bar, total)
        unsent, newest, last = 0, "", time.monotonic()

        def send() -> None:
            nonlocal unsent, last
            self._send("advance", newest, bar, unsent)
            unsent, last = 0, time.monotonic()

        def advance(steps: int = 1, detail: str = "") -> None:
            nonlocal unsent, newest
            unsent, newest = unsent + steps, detail or newest
            if time.monotonic() - last >= _SECONDS_BETWEEN_STEPS:
                send()

        try:
            yield advance
        finally:
            if unsent:
                send()
            self._send("close", bar=bar)

    def _send(self, kind: Any, text: str = "", bar: int = 0, number: int = 0) -> None:
        self._queue.put(Event(self._call, kind, text, bar, number))


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
        match event.kind:
            case "begin":
                self._nodes[event.call] = event.text
            case "say":
                self._display.say(event.text)
            case "open":
                stack = ExitStack()
                task = self._display.task(event.text, event.number)
                bars[event.bar] = stack, stack.enter_context(task)
            case "advance":
                bars[event.bar][1](event.number, event.text)
            case "close":
                bars.pop(event.bar)[0].close()
