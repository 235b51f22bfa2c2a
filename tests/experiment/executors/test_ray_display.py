"""What nodes tell reaches the one display, whole and under the right name."""

from __future__ import annotations

from contextlib import contextmanager

from cxrbench.experiment.executors.ray_display import Relay, RemoteDisplay


class Queue:
    """The part of Ray's queue that is used, within one process."""

    def __init__(self) -> None:
        self.events = []

    def put(self, event) -> None:
        self.events.append(event)

    def qsize(self) -> int:
        return len(self.events)

    def get_nowait_batch(self, number: int) -> list:
        taken, self.events = self.events[:number], self.events[number:]
        return taken


class Bars:
    """A display that keeps every bar: its description, total, steps, last detail, whether open."""

    def __init__(self) -> None:
        self.lines = []
        self.bars = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def task(self, description, total):
        bar = {"what": description, "total": total, "steps": 0, "detail": "", "open": True}
        self.bars.append(bar)

        def advance(steps=1, detail=""):
            bar["steps"] += steps
            bar["detail"] = detail or bar["detail"]

        yield advance
        bar["open"] = False


def test_lines_and_bars_arrive_under_the_name_of_their_run():
    queue, display = Queue(), Bars()
    relay = Relay(queue, display)
    relay.expect("a")
    remote = RemoteDisplay(queue, "a", "orb (seed 0)")
    remote.began("somewhere")
    remote.say("orb (seed 0) in runs/x")
    remote.say("  going on in epoch 3")
    with remote.task("training", 1000) as advance:
        for step in range(1000):
            advance(detail=f"step {step}")
    assert queue.qsize() < 50  # and not one event for each step
    relay.drain()
    assert display.lines == ["orb (seed 0) in runs/x", "orb (seed 0): going on in epoch 3"]
    assert display.bars == [
        {"what": "orb (seed 0): training", "total": 1000, "steps": 1000, "detail": "step 999",
         "open": False}
    ]  # fmt: skip
    assert relay.forget("a") == "somewhere"


def test_a_lost_calls_bars_are_closed_and_what_it_still_sends_is_dropped():
    queue, display = Queue(), Bars()
    relay = Relay(queue, display)
    relay.expect("first")
    lost = RemoteDisplay(queue, "first", "orb (seed 0)")
    with lost.task("training", 10) as advance:
        relay.drain()
        assert display.bars[0]["open"]
        assert relay.forget("first") is None
        assert not display.bars[0]["open"]
        advance()
        lost.say("still here")
    relay.drain()
    assert display.lines == []
