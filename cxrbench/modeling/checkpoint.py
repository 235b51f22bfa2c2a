"""Checkpoints: interrupted training continues with the same result as without the interruption.

A checkpoint is a folder with the state of the last save, the weights of the best epoch so far, and
``checkpoint.json``, which names the two and is replaced last, in one piece. A kill at any instant
therefore leaves the checkpoint before or the one after, and better weights are never overwritten.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import RunError
from cxrbench.interfaces import Display
from cxrbench.modeling.schedule import Epoch, Position
from cxrbench.output.files import (
    DamagedArrays,
    Destination,
    read_arrays,
    remove_link,
    write_json,
)
from cxrbench.output.show import plain

FORMAT = 1
FOLDER = "checkpoint"

SHARE = 0.02
"""The largest share of the training time that checkpoints may cost."""

# The expected speed of a disk until saves have been timed. It is half the measured speed of an idle
# disk, since the first save alone can cost more than its share.
_BYTES_PER_SECOND = 75e6

_CHECKPOINT = Destination(
    "the checkpoint in",
    RunError,
    "choose another folder with --runs; the same command then goes on",
)

_STATE = re.compile(r"(state|best)-\d+\.npz|.+\.tmp")

_DAMAGE = (DamagedArrays, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """``state`` is everything that training changes, ``best`` the weights of the best epoch so far.

    Both are in the order of the model's and the optimiser's variables. ``best`` is empty before the
    end of the first epoch.
    """

    position: Position
    state: tuple[np.ndarray, ...]
    best: tuple[np.ndarray, ...]


class Checkpoints:
    """The checkpoint of one run; only a run with the same ``key`` can continue from it."""

    def __init__(self, run: Path, key: str) -> None:
        self._folder = run / FOLDER
        self._key = key
        self._best_epoch = 0
        self._number = 0
        self._slowest = 0.0
        self._seconds = 0.0
        self._start = time.perf_counter()

    def load(self, display: Display) -> Checkpoint | None:
        """Return the last checkpoint; None if training cannot continue from it exactly."""
        path = self._folder / "checkpoint.json"
        if not path.exists():
            return None
        try:
            about = json.loads(path.read_bytes())
            if (about["format"], about["key"]) != (FORMAT, self._key):
                display.say(
                    "  The checkpoint is from other versions or another machine. Continuing would "
                    "not give the same result, so training starts from the beginning."
                )
                return None
            checkpoint = self._read(about)
        except _DAMAGE as error:
            display.say(
                f"  The checkpoint is damaged ({error}). Training starts from the beginning."
            )
            return None
        self._number, self._best_epoch = about["number"], about["best_epoch"]
        self._start = time.perf_counter()
        return checkpoint

    def due(self, size: int) -> bool:
        """Whether all saves, with one of ``size`` bytes now, stay within `SHARE` of the time."""
        expected = self._slowest or size / _BYTES_PER_SECOND
        return self._seconds + expected <= SHARE * (time.perf_counter() - self._start)

    def save(self, checkpoint: Checkpoint, best_epoch: int, *, start: float | None = None) -> None:
        """Replace the last checkpoint; the best weights are written only if they are new.

        ``start`` is the time when collecting the values began (`time.perf_counter`).
        """
        start = time.perf_counter() if start is None else start
        with _CHECKPOINT.writing(self._folder.parent):
            self._folder.mkdir(exist_ok=True)
            best = f"best-{best_epoch}.npz"
            if best_epoch != self._best_epoch:
                _write(self._folder / best, checkpoint.best)
            self._number += 1
            state = f"state-{self._number}.npz"
            _write(self._folder / state, checkpoint.state)
            names = [state, *([best] if best_epoch else [])]
            write_json(
                self._folder / "checkpoint.json",
                {
                    "format": FORMAT,
                    "key": self._key,
                    "number": self._number,
                    "best_epoch": best_epoch,
                    "position": plain(checkpoint.position),  # an undefined score is null
                    "files": {name: (self._folder / name).stat().st_size for name in names},
                },
            )
            self._remove_all_but(names)
        self._best_epoch = best_epoch
        seconds = time.perf_counter() - start
        self._slowest, self._seconds = max(self._slowest, seconds), self._seconds + seconds

    def _read(self, about: Mapping[str, Any]) -> Checkpoint:
        arrays: dict[str, tuple[np.ndarray, ...]] = {"state": (), "best": ()}
        for name, size in about["files"].items():
            path = self._folder / Path(name).name
            # The file's own checksums reveal a changed byte when it is read.
            if path.stat().st_size != size:
                raise ValueError(f"the size of {name} has changed")
            by_number = read_arrays(path)
            numbers = range(len(by_number))
            arrays[name.partition("-")[0]] = tuple(by_number[str(number)] for number in numbers)
        values = about["position"]
        history = tuple(map(_epoch, values["history"]))
        position = Position(history, tuple(values["losses"]), values["seconds"])
        return Checkpoint(position, arrays["state"], arrays["best"])

    def _remove_all_but(self, names: Sequence[str]) -> None:
        for path in self._folder.iterdir():
            if path.name not in names and _STATE.fullmatch(path.name):
                path.unlink()


def _epoch(values: Mapping[str, Any]) -> Epoch:
    numbers: dict[str, Any] = {n: math.nan if v is None else v for n, v in values.items()}
    return Epoch(**numbers)


def _write(path: Path, arrays: Sequence[np.ndarray]) -> None:
    by_number: dict[str, Any] = {str(number): array for number, array in enumerate(arrays)}
    remove_link(path)
    with path.open("wb") as file:
        np.savez(file, **by_number)
        file.flush()
        os.fsync(file.fileno())
