"""What stands in for a process that times: samples that say which task they are of."""

from __future__ import annotations

from cxrbench.perf.alone import CallTimes, PathFailed, Task

SECONDS = {"decode": 0.02, "train-step": 0.8, "predict": 0.2, "bootstrap": 0.1}


class Timer:
    """Remembers its tasks; paths that begin with a word of ``failing`` fail."""

    def __init__(self, *failing: str) -> None:
        self.tasks: list[Task] = []
        self.failing = failing

    def __call__(self, task: Task) -> CallTimes:
        self.tasks.append(task)
        if task.path.startswith(self.failing or ("\n",)):
            raise PathFailed(f"ValueError: no {task.path} today")
        return sample(task.path, batch=task.batch_size)


def sample(path: str, batch: int = 32, **changes) -> CallTimes:
    """A second of calls, all the same."""
    family = path.partition("/")[0]
    seconds = SECONDS.get(family, 0.01)
    network = family in ("augment", "forward", "train-step", "predict")
    told = {
        "step": "train",
        "images": 0 if family == "bootstrap" else batch if network else 2,
        "calls": (seconds,) * 10,
        "wall": 10 * seconds,
        "threads": 1,
        "device": "cpu" if network else None,
        "backend": "tensorflow" if network else None,
        "set_up_seconds": 1.5,
        "first_call_seconds": 2.5,
        "memory": 3_000_000,
    }
    return CallTimes(**{**told, **changes})
