"""Images per second of Keras and of OpenVINO in float32, in turns, on this machine's CPU.

    KERAS_BACKEND=jax python benchmarks/engines.py [--rounds 7] [--batch 32] [NETWORK ...]

Each network is printed with the medians of both, the median of the rounds' ratios (OpenVINO over
Keras) and their range, the seconds that converting takes, and the largest difference between the
outputs as a share of the largest output. Only ratios of one call are worth comparing: other work
on the machine slows both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.engine import predictor

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


def measure(model: Any, batch: int, rounds: int) -> str:
    """A row of the table."""
    images = np.random.default_rng(0).uniform(0, 255, (batch, SIDE, SIDE, 1)).astype(np.float32)
    on_keras = predictor(model, "keras", images)
    wanted = on_keras(images)
    start = time.perf_counter()
    on_openvino = predictor(model, "openvino", images)
    converting = time.perf_counter() - start
    difference = np.abs(on_openvino(images) - wanted).max() / np.abs(wanted).max()
    took = np.empty((rounds, 2))
    for each in took:
        for column, predict in enumerate((on_keras, on_openvino)):
            start = time.perf_counter()
            predict(images)
            each[column] = time.perf_counter() - start
    ratios = took[:, 0] / took[:, 1]
    keras_rate, openvino_rate = batch / np.median(took, axis=0)
    return (
        f"{keras_rate:9.1f} {openvino_rate:9.1f} {np.median(ratios):7.2f} "
        f"({ratios.min():.2f} to {ratios.max():.2f}) {converting:11.1f} {difference:11.1e}"
    )


def main() -> None:
    """Print a row per network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["resnet50", "mobilenet"], metavar="NETWORK")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for name in given.networks:
        if name not in NETWORKS:
            parser.error(f"there is no network {name!r}, only {', '.join(NETWORKS)}")
    backend = load_keras().backend.backend()
    titles = f"{'Keras':>9} {'OpenVINO':>9} {'ratio':>7} (range)"
    print(f"{'images/s, ' + backend:20} {titles:>42} {'converting':>11} {'difference':>11}")
    for name in given.networks:
        print(f"{name:20} {measure(NETWORKS[name](), given.batch, given.rounds)}", flush=True)


if __name__ == "__main__":
    main()
