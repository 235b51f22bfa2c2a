"""One framework in its own process: it measures one request per line.

Each line on standard input is a JSON request, and each is answered by one line of JSON. What the
frameworks print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from contextlib import ExitStack
from typing import Any

from _measure import Watch, memory_in_use, memory_is_shared, synchronise
from _ways import SHARED, Conditions, Run, Task

WARM_UP_STEPS = 2


class Worker:
    """The ways of one framework; one task's models at a time."""

    def __init__(self, framework: str, conditions: Conditions) -> None:
        self._is_timm = framework == "timm"
        self._framework = "torch" if self._is_timm else framework
        self._conditions = conditions
        self._makers: dict[str, Any] = {}
        self._runs: dict[str, Run] = {}
        self._own_memory: dict[str, int] = {}
        self._held = ExitStack()

    def about(self) -> dict[str, Any]:
        """Versions and the GPU."""
        if self._is_timm:
            import torch

            gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
            timm = importlib.import_module("timm")
            return {"gpu": gpu, "versions": {"timm": timm.__version__, "torch": torch.__version__}}
        from cxrbench.modeling.backend import gpu_names, load_keras

        found = gpu_names()
        backend = sys.modules["torch" if self._framework == "torch" else self._framework]
        versions = {"keras": load_keras().__version__, self._framework: backend.__version__}
        return {
            "gpu": found[0] if found else None,
            "versions": {**versions, "python": platform.python_version()},
        }

    def begin(self, task: Task) -> dict[str, Any]:
        """Get ready for a task; the names of its ways."""
        self._held.close()
        self._runs.clear()
        self._own_memory.clear()
        if self._is_timm:
            from _timm_ways import timm_task

            self._makers = self._held.enter_context(timm_task(task, self._conditions))
        else:
            from _keras_ways import keras_task

            self._makers = self._held.enter_context(keras_task(task, self._conditions))
        return {"ways": list(self._makers)}

    def warm_up(self, way: str) -> dict[str, Any]:
        """Build and compile a way."""
        before = memory_in_use(self._framework)
        started = time.perf_counter()
        run = self._makers[way]()
        run(WARM_UP_STEPS)
        synchronise(self._framework)
        seconds = time.perf_counter() - started
        self._runs[way] = run
        after = memory_in_use(self._framework)
        if before is not None and after is not None:
            # What two ways share was made by the first and belongs to both.
            shared = self._own_memory.get(SHARED.get(way, ""), 0)
            self._own_memory[way] = shared + after - before
        return {"seconds": seconds}

    def measure(self, way: str, steps: int) -> dict[str, Any]:
        """Run a way; what other ways keep on the GPU does not count as its memory."""
        watch = Watch(self._framework)
        synchronise(self._framework)
        resident = memory_in_use(self._framework)
        with watch.watching():
            started = time.perf_counter()
            images = self._runs[way](steps)
            synchronise(self._framework)
            seconds = time.perf_counter() - started
        peak = watch.peak_memory
        if peak is not None and resident is not None:
            peak -= resident - self._own_memory[way]
        return {
            "images_per_second": images / seconds,
            "peak_memory": peak,
            "gpu_share": watch.gpu_share,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request; an error is a reply, too, so that the other ways go on."""
        try:
            told: dict[str, Any] = getattr(self, request.pop("do"))(**request)
            return told
        except Exception as error:
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def main() -> None:
    """Answer until standard input ends."""
    memory_is_shared()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    framework, conditions = sys.argv[1], Conditions(**json.loads(sys.argv[2]))
    worker = Worker(framework, conditions)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
