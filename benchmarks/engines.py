"""Images per second of the engines in float32, in turns, on this machine's CPU.

    python benchmarks/engines.py [--rounds 7] [--batch 32] [NETWORK ...]

A row for each network and each engine: the median of its speed, the median of
the rounds' ratios to Keras on the current backend and their range, the seconds that it takes to
make it ready, and the largest difference between the outputs as a share of the largest output. Only
ratios of one call are worth comparing: other work on the machine slows all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.engines import ENGINES, predictor

SIDE = 224


def resnet50() -> Any:
    """The embedder of the built-in backbone."""
    return _embedder(ResNet50().build(SIDE, None))


def mobilenet() -> Any:
    """Keras' MobileNet on grey images."""
    keras = load_keras()
    grey = keras.Input((SIDE, SIDE, 1))
    colour = keras.layers.Concatenate()([grey, grey, grey])
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(colour)
    network = keras.applications.MobileNet(include_top=False, weights=None, input_tensor=scaled)
    return _embedder(keras.Model(grey, network.output))


def efficientnetb0() -> Any:
    """Keras' EfficientNetB0 on grey images."""
    keras = load_keras()
    grey = keras.Input((SIDE, SIDE, 1))
    colour = keras.layers.Concatenate()([grey, grey, grey])
    network = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_tensor=colour
    )
    return _embedder(keras.Model(grey, network.output))


NETWORKS: dict[str, Callable[[], Any]] = {
    "resnet50": resnet50,
    "mobilenet": mobilenet,
    "efficientnetb0": efficientnetb0,
}


def _embedder(trunk: Any) -> Any:
    keras = load_keras()
    return keras.Model(trunk.input, keras.layers.GlobalAveragePooling2D()(trunk.output))


def measure(model: Any, batch: int, rounds: int) -> Iterator[str]:
    """A row of the table for each engine."""
    images = np.random.default_rng(0).uniform(0, 255, (batch, SIDE, SIDE, 1)).astype(np.float32)
    ready, making = [], []
    for name in ENGINES:
        start = time.perf_counter()
        ready.append(predictor(model, name, images))
        making.append(time.perf_counter() - start)
    outputs = [predict(images) for predict in ready]
    took = np.empty((rounds, len(ENGINES)))
    for each in took:
        for column, predict in enumerate(ready):
            start = time.perf_counter()
            predict(images)
            each[column] = time.perf_counter() - start
    for column, name in enumerate(ENGINES):
        ratios = took[:, 0] / took[:, column]
        difference = np.abs(outputs[column] - outputs[0]).max() / np.abs(outputs[0]).max()
        yield (
            f"{name:17} {batch / np.median(took[:, column]):9.1f} {np.median(ratios):7.2f} "
            f"({ratios.min():.2f} to {ratios.max():.2f}) {making[column]:9.1f} {difference:11.1e}"
        )


def main() -> None:
    """Print the table."""
    current = load_keras().backend.backend()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["resnet50", "mobilenet"], metavar="NETWORK")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for name in given.networks:
        if name not in NETWORKS:
            parser.error(f"there is no network {name!r}, only {', '.join(NETWORKS)}")
    titles = f"{'images/s':>9} {'ratio':>7} {'(range)':14} {'ready in s':>9} {'difference':>11}"
    print(f"{'Keras on ' + current:33} {titles}")
    for name in given.networks:
        for row in measure(NETWORKS[name](), given.batch, given.rounds):
            print(f"{name:15} {row}", flush=True)


if __name__ == "__main__":
    main()
