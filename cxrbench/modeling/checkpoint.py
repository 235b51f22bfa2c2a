"""Checkpoints of a training, so that it goes on after a kill as if there had been none.

A checkpoint is a folder with the state of the last save, the weights of the best epoch so far, and
``checkpoint.json``, which names the two and is replaced last, in one piece. A kill at any instant
therefore leaves the checkpoint before or the one after, and better weights are never overwritten.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import RunError
from cxrbench.interfaces import Display
from cxrbench.modeling.schedule import Epoch, Position
from cxrbench.output.files import DamagedArrays, Destination, read_arrays, write_json

FORMAT = 1
FOLDER = "checkpoint"

SHARE = 0.02
"""What checkpoints may cost of the time that training takes."""

# What a disk is expected to take of a state until saves have been timed; half of what a quiet one
# took, since the first save alone can cost more than its share.
_BYTES_PER_SECOND = 75e6

_CHECKPOINT = Destination(
    "the checkpoint in",
    RunError,
    "choose another folder with --runs; the same command then goes on",
)

_DAMAGE = (DamagedArrays, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """``state`` is all that training changes, ``best`` the weights of the best epoch so far.

    Each is in the order of the model's and the optimiser's variables; ``best`` is empty before the
    end of the first epoch.
    """

    position: Position
    state: tuple[np.ndarray, ...]
    best: tuple[np.ndarray, ...]


class Checkpoints:
    """The checkpoint of one run; ``key`` tells runs apart that do not continue each other."""

    def __init__(self, run: Path, key: str) -> None:
        self._folder = run / FOLDER
        self._key = key
        self._best_epoch = 0
        self._number = 0
        self._dearest = 0.0
        self._spent = 0.0
        self._began = time.perf_counter()

    def load(self, display: Display) -> Checkpoint | None:
        """What was saved last; None, and said, where it cannot be continued from exactly."""
        told = self._folder / "checkpoint.json"
        if not told.exists():
            return None
        try:
            about = json.loads(told.read_bytes())
            if (about["format"], about["key"]) != (FORMAT, self._key):
                display.say(
                    "  its checkpoint was made with other versions or on another machine: going "
                    "on would not give the same result, so training starts anew"
                )
                return None
            saved = self._read(about)
        except _DAMAGE as error:
            display.say(f"  its checkpoint is damaged ({error}): training starts anew")
            return None
        self._number, self._best_epoch = about["number"], about["best_epoch"]
        self._began = time.perf_counter()
        return saved

    def due(self, size: int) -> bool:
        """Whether all saves, with one of ``size`` bytes now, stay within `SHARE` of the time."""
        expected = self._dearest or size / _BYTES_PER_SECOND
        return self._spent + expected <= SHARE * (time.perf_counter() - self._began)

    def save(self, checkpoint: Checkpoint, best_epoch: int, *, began: float | None = None) -> None:
        """Replace the last checkpoint; the best weights are written only when they are new.

        ``began`` is when its taking began, if that took time too (`time.perf_counter`).
        """
        started = time.perf_counter() if began is None else began
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
                    "position": _plain(checkpoint.position),
                    "files": {name: (self._folder / name).stat().st_size for name in names},
                },
            )
            self._remove_all_but(names)
        self._best_epoch = best_epoch
        taken = time.perf_counter() - started
        self._dearest, self._spent = max(self._dearest, taken), self._spent + taken

    def _read(self, about: Mapping[str, Any]) -> Checkpoint:
        arrays: dict[str, tuple[np.ndarray, ...]] = {"state": (), "best": ()}
        for name, size in about["files"].items():
            path = self._folder / Path(name).name
            # A changed byte is found by the file's own checksums when it is read.
            if path.stat().st_size != size:
                raise ValueError(f"{name} is not what was written")
            arrays[name.partition("-")[0]] = _arrays(path)
        told = about["position"]
        history = tuple(_epoch(values) for values in told["history"])
        position = Position(history, tuple(told["losses"]), told["seconds"])
        return Checkpoint(position, arrays["state"], arrays["best"])

    def _remove_all_but(self, names: Sequence[str]) -> None:
        for path in self._folder.iterdir():
            if path.name not in (*names, "checkpoint.json"):
                path.unlink()


def _plain(position: Position) -> dict[str, Any]:
    """For JSON, which has no NaN: a score that is undefined, such as a precision, is null."""
    told = asdict(position)
    told["history"] = [
        {name: None if value != value else value for name, value in epoch.items()}
        for epoch in told["history"]
    ]
    return told


def _epoch(values: Mapping[str, Any]) -> Epoch:
    told: dict[str, Any] = {n: math.nan if v is None else v for n, v in values.items()}
    return Epoch(**told)


def _write(path: Path, arrays: Sequence[np.ndarray]) -> None:
    named: dict[str, Any] = {str(number): array for number, array in enumerate(arrays)}
    with path.open("wb") as file:
        np.savez(file, **named)
        file.flush()
        os.fsync(file.fileno())


def _arrays(path: Path) -> tuple[np.ndarray, ...]:
    named = read_arrays(path)
    return tuple(named[str(number)] for number in range(len(named)))
