"""Time hot paths on several sides in turn, and restart all processes several times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxrbench.errors import TimingError
from cxrbench.perf.process import CLOCKS, Environment, Work, WorkerProcess

FIRST_RESTARTS = 4
"""Restarts before the first look at the samples."""

ROUNDS = 6
"""Rounds of samples in each restart."""

SAMPLE_SECONDS = 0.01
"""A sample lasts at least this long: as many calls as needed are timed together."""

MOST_CALLS = 2_000
"""At most this many calls are timed together: a path that returns immediately is no hot path."""


@dataclass(frozen=True)
class Turn:
    """The number of an environment, and the factor by which its calls are made longer."""

    environment: int
    slowdown: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """Environments, the turns in a round, and how many rounds each restart has.

    Each round has its turns in another order, so that what drifts meets all alike. No process has
    two turns in a row, where it can: its data would still be in the processor's caches.
    ``process`` starts what measures by ``clocks``.
    """

    environments: tuple[Environment, ...]
    turns: tuple[Turn, ...]
    rounds: int
    work: Work
    process: type[WorkerProcess] = WorkerProcess
    clocks: tuple[str, ...] = CLOCKS


@dataclass(frozen=True)
class Trouble:
    """Why a path has no samples in an environment: ``state`` is ``missing`` or ``failed``."""

    environment: int
    state: str
    error: str


@dataclass(frozen=True, eq=False)
class Restart:
    """The samples of one start of all processes.

    ``seconds`` has for each path (rounds, turns, clocks) float64: of a call, by the plan's clocks.
    ``calls`` is how many were timed together, ``images`` on how many one works.
    """

    seconds: Mapping[str, np.ndarray] = field(default_factory=dict)
    troubles: Mapping[str, tuple[Trouble, ...]] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    versions: tuple[Mapping[str, str], ...] = ()


def restart(
    plan: Schedule, paths: Sequence[str], calls: Mapping[str, int], *, seed: int
) -> Restart:
    """Start a process for each environment, and time every path in all of them.

    ``calls`` are those of restarts before; a path that is not in it is tried out. ``seed`` draws
    the order of the turns.

    Raises
    ------
    TimingError : a process cannot be started at all.
    """
    seconds, troubles, calls, images = {}, {}, dict(calls), {}
    rng = np.random.default_rng(seed)
    with ExitStack() as stack:
        workers = _start(plan, stack)
        versions = tuple(worker.versions() for worker in workers)
        for path in paths:
            ready = _set_up(workers, path)
            if ready.troubles:
                troubles[path] = ready.troubles
                workers = _again_where_dead(plan, workers, ready.troubles, stack)
                continue
            images[path] = ready.images
            try:
                if path not in calls:
                    calls[path] = _calls(workers, path)
                seconds[path] = np.array(list(_rounds(plan, workers, path, calls[path], rng)))
            except _Failed as failure:
                troubles[path] = (failure.trouble,)
                workers = _again_where_dead(plan, workers, troubles[path], stack)
    return Restart(seconds, troubles, calls, images, versions)


@dataclass(frozen=True)
class _SetUp:
    images: int
    troubles: tuple[Trouble, ...]


class _Failed(Exception):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.error)
        self.trouble = trouble


def _start(plan: Schedule, stack: ExitStack) -> list[WorkerProcess]:
    return [stack.enter_context(plan.process(one, plan.work)) for one in plan.environments]


def _set_up(workers: Sequence[WorkerProcess], path: str) -> _SetUp:
    images, troubles = 0, []
    for number, worker in enumerate(workers):
        try:
            images = int(_answer(number, worker.ask, do="set up", path=path)["images"])
            _answer(number, worker.ask, do="time", path=path, calls=1)  # warms up, and compiles
        except _Failed as failure:
            troubles.append(failure.trouble)
    return _SetUp(images, tuple(troubles))


def _answer(number: int, ask: Callable[..., dict[str, Any]], **request: Any) -> dict[str, Any]:
    try:
        answer = ask(**request)
    except TimingError as error:
        raise _Failed(Trouble(number, "died", f"{error.problem} ({error.found})")) from error
    for state in ("missing", "failed"):
        if state in answer:
            raise _Failed(Trouble(number, state, answer[state]))
    return answer


def _calls(workers: Sequence[WorkerProcess], path: str) -> int:
    """How many calls make the quickest side's sample long enough."""
    quickest = min(
        _answer(number, worker.ask, do="time", path=path, calls=3)["wall"] / 3
        for number, worker in enumerate(workers)
    )
    calls = math.ceil(SAMPLE_SECONDS / max(quickest, 1e-9))
    if calls > MOST_CALLS:
        raise _Failed(
            Trouble(
                0,
                "failed",
                f"returns immediately ({quickest * 1e9:.0f} ns a call), so it does not do its work",
            )
        )
    return calls


def _rounds(
    plan: Schedule,
    workers: Sequence[WorkerProcess],
    path: str,
    calls: int,
    rng: np.random.Generator,
) -> Iterator[list[list[float]]]:
    for order in orders(plan.turns, plan.rounds, rng):
        taken: list[list[float]] = [[] for _ in order]
        for place in order:
            turn = plan.turns[place]
            answer = _answer(
                turn.environment,
                workers[turn.environment].measure,
                path=path,
                calls=calls,
                slowdown=turn.slowdown,
            )
            taken[place] = [answer[clock] / calls for clock in plan.clocks]
        yield taken


def orders(
    turns: Sequence[Turn], rounds: int, rng: np.random.Generator
) -> Iterator[tuple[int, ...]]:
    """The places of the turns in an order for each round; see `Schedule`."""
    apart = len({turn.environment for turn in turns}) == len(turns) > 1
    last = -1
    for _ in range(rounds):
        order = rng.permutation(len(turns))
        while apart and turns[order[0]].environment == last:
            order = rng.permutation(len(turns))
        last = turns[order[-1]].environment
        yield tuple(order.tolist())


def _again_where_dead(
    plan: Schedule, workers: list[WorkerProcess], troubles: Sequence[Trouble], stack: ExitStack
) -> list[WorkerProcess]:
    """A new process for each that a path brought down, so that the next paths have one."""
    for trouble in troubles:
        if trouble.state == "died":
            worker = plan.process(plan.environments[trouble.environment], plan.work)
            workers[trouble.environment] = stack.enter_context(worker)
            worker.versions()
    return workers
