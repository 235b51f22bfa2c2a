"""ResNet50's speed: cxrbench's own path beside plain Keras and timm, in interleaved rounds.

    KERAS_BACKEND=jax python benchmarks/gpu/resnet50.py [--batch 256] [--json FILE]

Full training, finetuning (the last stage and the head) and inference. Every framework has a
process of its own; in each round every way takes one turn. `README.md` beside this file says what
the numbers mean.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from _measure import gigabytes, percent, say, table
from _store import random_labels, write_pixels, write_pngs
from _ways import FIT, TASKS, TIMM, Conditions, Task
from _worker import WARM_UP_STEPS

TITLES = ("task", "framework", "way", "images/s", "(range)", "/ timm", "/ plain fit", "peak memory")
MORE_TITLES = ("GPU computes", "warm-up")


@dataclass
class Row:
    """A way of doing a task, with one value for each round."""

    task: Task
    framework: str
    way: str
    warm_up_seconds: float | None = None
    images_per_second: list[float] = field(default_factory=list)
    peak_memory: list[int] = field(default_factory=list)
    gpu_share: list[float] = field(default_factory=list)
    error: str | None = None

    def add(self, told: dict[str, Any]) -> None:
        """One round's values."""
        self.error = told.get("error")
        if self.error is not None:
            say(f"{self.framework}, {self.way}: {self.error}")
            return
        self.images_per_second.append(told["images_per_second"])
        for name in ("peak_memory", "gpu_share"):
            if told[name] is not None:
                getattr(self, name).append(told[name])

    def ratio_to(self, other: Row | None) -> float | None:
        """Median of the rounds' ratios."""
        if other is None or self.error or other.error:
            return None
        pairs = zip(self.images_per_second, other.images_per_second, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


class Process:
    """A worker, see `_worker.py`."""

    def __init__(self, framework: str, conditions: Conditions) -> None:
        self.framework = framework
        environment = dict(os.environ)
        if framework != "timm":
            environment["KERAS_BACKEND"] = framework
        self._process = subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).with_name("_worker.py"))),
                *(framework, json.dumps(asdict(conditions))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The reply; ``{"error": …}`` from a process that ended, too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            return {"error": f"its process ended with exit code {self._process.wait()}"}
        return cast("dict[str, Any]", json.loads(reply))

    def end(self) -> None:
        """Let it go."""
        self._process.communicate()


@contextmanager
def processes(frameworks: Sequence[str], conditions: Conditions) -> Iterator[list[Process]]:
    """A worker for each framework."""
    started = [Process(framework, conditions) for framework in frameworks]
    try:
        yield started
    finally:
        for process in started:
            process.end()


def measure(task: Task, workers: Sequence[Process], steps: int, rounds: int) -> list[Row]:
    """The rows of a task."""
    turns: list[tuple[Process, Row]] = []
    for worker in workers:
        told = worker.ask("begin", task=task)
        if "error" in told:
            say(f"{worker.framework}: {told['error']}")
        for way in told.get("ways", ["everything"]):
            row = Row(task, worker.framework, way, error=told.get("error"))
            turns.append((worker, row))
    for worker, row in turns:
        if row.error is None:
            say(f"{task}: {row.framework}, {row.way}: warming up")
            told = worker.ask("warm_up", way=row.way)
            row.error, row.warm_up_seconds = told.get("error"), told.get("seconds")
    for number in range(rounds):
        say(f"{task}: round {number + 1} of {rounds}")
        for worker, row in turns:
            if row.error is None:
                row.add(worker.ask("measure", way=row.way, steps=steps))
    return [row for _, row in turns]


def results(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their medians and ratios, for JSON."""
    by_name = {(row.task, row.framework, row.way): row for row in rows}
    told = []
    for row in rows:
        rates = row.images_per_second
        to_fit = by_name.get((row.task, row.framework, FIT))
        told.append(
            {
                **asdict(row),
                "median_images_per_second": statistics.median(rates) if rates else None,
                "ratio_to_timm": row.ratio_to(by_name.get((row.task, "timm", TIMM))),
                "ratio_to_plain_fit": row.ratio_to(to_fit),
                "peak_memory": max(row.peak_memory, default=None),
                "gpu_share": statistics.median(row.gpu_share) if row.gpu_share else None,
            }
        )
    return told


def cells(told: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    named = (told["task"], told["framework"], told["way"])
    if told["error"] is not None:
        return (*named, told["error"][:60], *[""] * 6)
    ratios = (told["ratio_to_timm"], told["ratio_to_plain_fit"])
    rates = told["images_per_second"]
    return (
        *named,
        f"{told['median_images_per_second']:,.1f}",
        f"({min(rates):,.1f} to {max(rates):,.1f})",
        *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        gigabytes(told["peak_memory"]),
        percent(told["gpu_share"]),
        f"{told['warm_up_seconds']:.0f} s",
    )


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40, help="batches of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument(
        "--backend",
        nargs="+",
        choices=["tensorflow", "jax", "torch"],
        default=[os.environ.get("KERAS_BACKEND") or "tensorflow"],
        help="of Keras; by default KERAS_BACKEND; several share the GPU's memory",
    )
    parser.add_argument("--augment", choices=["medical", "none"], default="medical")
    parser.add_argument("--png-files", type=int, default=256, help="read again and again")
    parser.add_argument("--png-size", type=int, default=1024, help="side of the PNGs")
    parser.add_argument("--png-workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-compile", action="store_true", help="timm without torch.compile")
    parser.add_argument("--folder", type=Path, help="where the store may be, instead of /tmp")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    return parser.parse_args()


def prepared(given: argparse.Namespace, folder: str) -> Conditions:
    """Write what all workers read."""
    images = max(given.steps, WARM_UP_STEPS) * given.batch
    say(f"writing {images:,} images")
    write_pixels(Path(folder), images, given.size)
    np.save(Path(folder) / "labels.npy", random_labels(images))
    write_pngs(Path(folder), given.png_files, given.png_size)
    return Conditions(
        folder=folder,
        images=images,
        size=given.size,
        batch=given.batch,
        precision=given.precision,
        augment=given.augment,
        png_workers=given.png_workers,
        compiled=not given.no_compile,
    )


def main() -> None:
    """Measure, and print the table."""
    given = parse()
    missing = [name for name in ("torch", "timm") if find_spec(name) is None]
    frameworks = [*given.backend, *([] if missing else ["timm"])]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        conditions = prepared(given, folder)
        with processes(frameworks, conditions) as workers:
            about = {worker.framework: worker.ask("about") for worker in workers}
            rows = [
                row
                for task in given.tasks
                for row in measure(task, workers, given.steps, given.rounds)
            ]
    told = results(rows)
    print(table((*TITLES, *MORE_TITLES), [cells(row) for row in told], names=3))
    if missing:
        print(f"timm: not installed ({', '.join(missing)} missing)")
    for framework, facts in about.items():
        print(f"{framework}: {facts.get('error') or facts}")
    if given.json is not None:
        options = {key: str(value) for key, value in vars(given).items()}
        whole = {"options": options, "about": about, "missing": missing, "rows": told}
        given.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
