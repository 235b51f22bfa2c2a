"""The process that times hot paths; it runs in the environment that is measured.

Run as a file: ``python -P worker.py '{"films": FOLDER, "image_size": …}'``. It reads requests and
writes answers, one JSON object a line, and knows nothing of cxrbench but what `hot_paths` imports,
which lies beside it: so the same paths are timed in every environment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

PACKAGES = ("cxrbench", "numpy", "opencv-contrib-python-headless", "keras", "tensorflow", "scipy")


def main() -> None:
    """Answer requests until there are no more."""
    # Prints of anybody must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    work = json.loads(sys.argv[1])
    if work.pop("one_core", False):  # on the core that all workers have in turn
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    threads = work.pop("threads", 1)
    worker = Worker(Path(work.pop("films")), threads, work)
    _send(answers, {"ready": True, "versions": versions(), "pid": os.getpid()})
    for line in sys.stdin:
        _send(answers, worker.answer(json.loads(line)))


class Worker:
    """The paths that were set up, by name."""

    def __init__(self, folder: Path, threads: int, sizes: Mapping[str, int]) -> None:
        self._threads = threads
        self._hot_paths = load_hot_paths()
        self._films = self._hot_paths.ImageSet.read(folder, **sizes)
        self._paths: dict[str, Any] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Set a path up, or time it; a failure is an answer too."""
        try:
            if request["do"] == "set up":
                return self._set_up(request["path"])
            return self._timed(request["path"], request["calls"], request.get("slowdown", 1.0))
        except Exception as error:  # a path may fail in any way, and the others go on
            return {_state(error): f"{type(error).__name__}: {_reason(error)}"}

    def _set_up(self, name: str) -> dict[str, Any]:
        import cv2

        cv2.setNumThreads(self._threads)
        path = self._hot_paths.set_up(name, self._films)
        self._paths = {name: path}  # one at a time: others' memory would be in its way
        return {"images": path.images, "step": path.step}

    def _timed(self, name: str, calls: int, slowdown: float) -> dict[str, Any]:
        call = self._paths[name].call
        wall, processor = time.perf_counter_ns(), time.process_time_ns()
        for _ in range(calls):
            call()
        if slowdown > 1:  # for the experiment that measures the gate itself
            end = processor + int((time.process_time_ns() - processor) * slowdown)
            while time.process_time_ns() < end:
                pass
        return {
            "wall": (time.perf_counter_ns() - wall) / 1e9,
            "cpu": (time.process_time_ns() - processor) / 1e9,
        }


def _state(error: Exception) -> str:
    """Whether this revision lacks the path, or has it and it fails."""
    lacking = isinstance(error, ImportError | AttributeError | KeyError)
    # By its name: which class that is depends on the revision.
    return "missing" if lacking or type(error).__name__ == "RecipeError" else "failed"


def _reason(error: Exception) -> str:
    """One line: of an error of cxrbench, whatever its revision, what is wrong and what to do."""
    pieces = (getattr(error, "problem", None) or str(error), getattr(error, "fix", None) or "")
    return "; ".join(" ".join(piece.split()) for piece in pieces if piece)


def load_hot_paths() -> Any:
    """The package beside this file, whatever `cxrbench` the environment has."""
    folder = Path(__file__).parent / "hot_paths"
    spec = importlib.util.spec_from_file_location(
        "hot_paths", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hot_paths"] = module
    spec.loader.exec_module(module)
    return module


def versions() -> dict[str, str]:
    """Of Python and the packages that hot paths are made of; without those that are not there."""
    packages = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return packages


def _send(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
