"""From the texts of two sides to their comparison, measured or recorded."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cxrbench.errors import SettingsError
from cxrbench.interfaces import Display
from cxrbench.perf.counting import require_valgrind
from cxrbench.perf.gate import GateSettings, SpeedComparison, as_json, compare_sides
from cxrbench.perf.process import Work
from cxrbench.perf.recordings import compare_recordings, find_recording, with_paths
from cxrbench.perf.sides import find_side
from cxrbench.perf.workload import chosen_paths, write_films_of


@dataclass(frozen=True)
class Request:
    """What to compare, on which paths and images, and where everything is kept.

    ``paths`` are those that are named; without any, a selection that ``quick`` makes smaller.
    """

    base: str
    head: str
    paths: tuple[str, ...]
    quick: bool
    data: str | None
    options: GateSettings
    image_size: int
    batch_size: int
    cache: Path
    output: Path | None
    allow_cross_machine: bool


def compare_texts(request: Request, display: Display) -> SpeedComparison:
    """Measure both sides, or read both recordings, and judge each path.

    Raises
    ------
    SettingsError : a side is nothing that can be run, or one is a recording and the other is not.
    DataError : a recording or the images cannot be used.
    TimingError : a side's process cannot be started.
    """
    base, head = find_recording(request.base), find_recording(request.head)
    if base is not None and head is not None:
        base, head = with_paths((base, head), request.paths)
        return compare_recordings(
            base, head, request.options, allow_cross_machine=request.allow_cross_machine
        )
    if base is not None or head is not None:
        raise SettingsError(
            "one side is a recording and the other is not",
            expected="two recordings, or two sides that are measured now",
            found=f"{request.base} and {request.head}",
            fix="record the other side too, with cxrbench perf record",
        )
    return _measured(request, display)


def _measured(request: Request, display: Display) -> SpeedComparison:
    if request.options.counts:
        require_valgrind()
    with ExitStack() as stack:
        films = Path(stack.enter_context(TemporaryDirectory()))
        write_films_of(request.data, films, request.cache, display)
        sides = tuple(
            find_side(text, Path.cwd(), request.cache, stack)
            for text in (request.base, request.head)
        )
        work = Work(films, network_size=request.image_size, batch_size=request.batch_size)
        output = request.output or _place(request.cache)
        display.say(f"samples: {output}")
        output.parent.mkdir(parents=True, exist_ok=True)
        found = compare_sides(
            (sides[0], sides[1]),
            chosen_paths(request.paths, quick=request.quick),
            work,
            request.options,
            display,
            keep=lambda so_far: _write(so_far, output),
        )
        _write(found, output)
    return found


def _place(cache: Path) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return cache / "perf" / "comparisons" / f"{now}-{os.getpid()}.json"


def _write(found: SpeedComparison, path: Path) -> None:
    building = path.with_name(f".{path.name}.building")
    building.write_text(json.dumps(as_json(found)) + "\n", encoding="utf-8")
    building.replace(path)
