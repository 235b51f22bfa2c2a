"""What checkpoints cost of a training: all saves of ResNet50 beside the time of training.

    python benchmarks/checkpoint_cost.py [--minutes 8] [--folder DIR]

ResNet50 at 64 pixels, so that steps are short beside what has to be saved: the hardest case for
a network of this size. `all` trains every layer (307 MB a state), else the last stage does. The
weights of the best epoch are written too whenever they are new.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from cxrbench.builtin.concat import Concat
from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.modeling.assemble import build_top, build_trunk, freeze_below
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.checkpoint import Checkpoint, Checkpoints
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.train import TrainSettings, train
from cxrbench.output.display import SilentDisplay

LABELS, SIZE, BATCH = 15, 64, 32


class Timed(Checkpoints):
    """Checkpoints that remember what they took; the training stops after some time."""

    def __init__(self, run: Path, until: float) -> None:
        super().__init__(run, "benchmark")
        self.saves: list[float] = []
        self.bytes = 0
        self._until = until

    def due(self, size: int) -> bool:
        if time.perf_counter() > self._until:
            raise TimeoutError
        return super().due(size)

    def save(self, checkpoint: Checkpoint, best_epoch: int, *, start: float | None = None) -> None:
        start = time.perf_counter() if start is None else start
        super().save(checkpoint, best_epoch, start=start)
        self.saves.append(time.perf_counter() - start)
        self.bytes = sum(array.nbytes for array in checkpoint.state)


def measure(trains: str, minutes: float, folder: Path) -> None:
    """Train for so long and print the share of the saves."""
    load_keras().backend.clear_session()
    trunk = build_trunk(ResNet50(), SIZE, None, 0)
    if trains != "all":
        freeze_below(trunk, ResNet50.freeze_at)
    model = build_top(trunk, Concat(), {}, labels=LABELS, seed=0).whole()
    rng = np.random.default_rng(0)
    images = 480
    labels = rng.integers(0, 2, (images, LABELS)).astype(np.float32)
    inputs = Inputs(rng.integers(0, 256, (images, SIZE, SIZE), np.uint8), {}, labels)
    started = time.perf_counter()
    checkpoints = Timed(folder, started + 60 * minutes)
    settings = TrainSettings(10**6, BATCH, 1e-4, 10**6, seed=0)
    with suppress(TimeoutError):
        train(
            model,
            inputs,
            train_rows=np.arange(448),
            val_rows=np.arange(448, images),
            settings=settings,
            display=SilentDisplay(),
            checkpoints=checkpoints,
        )
    whole, saves = time.perf_counter() - started, checkpoints.saves
    print(
        f"{trains:10} {len(saves):4} saves of {checkpoints.bytes / 1e6:.0f} MB and more, "
        f"{np.mean(saves):.2f} s each ({min(saves):.2f} to {max(saves):.2f}), "
        f"{100 * sum(saves) / whole:.2f} % of {whole:.0f} s"
    )


def main() -> None:
    """Both ways of training, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    given = parser.parse_args()
    for trains in ("all", "last stage"):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            measure(trains, given.minutes, Path(folder))


if __name__ == "__main__":
    main()
