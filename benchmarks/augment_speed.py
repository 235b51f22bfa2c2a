"""Augmenting a batch inside the model beside Keras' own layers, and drawing for an epoch.

    KERAS_BACKEND=jax python benchmarks/augment_speed.py [--batch 32] [--side 224] [--rounds 9]

Both are models of the current backend, compiled as training compiles them, called in turns;
processor time, which counts all threads. Keras' layers are the six that come nearest: rotation,
translation and zoom (three interpolations), brightness, contrast, Gaussian noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from cxrbench.modeling.augment import MEDICAL, PARAMETERS, draw
from cxrbench.modeling.backend import load_keras

NIH_IMAGES = 112_120


def ours(side: int) -> Any:
    """Stored pixels and parameters to varied images."""
    keras = load_keras()
    from cxrbench.modeling.pixels import Pixels

    pixels = keras.Input((side, side), dtype="uint8")
    parameters = keras.Input((len(PARAMETERS),))
    return keras.Model([pixels, parameters], Pixels(dtype="float32")(pixels, parameters))


def keras_layers(side: int) -> Any:
    """Stored pixels to images varied by Keras' layers, over the same ranges."""
    keras = load_keras()
    layers = keras.layers
    constant = {"fill_mode": "constant"}
    varying = (
        layers.RandomRotation(MEDICAL.rotation / 360, **constant),
        layers.RandomTranslation(MEDICAL.translation, MEDICAL.translation, **constant),
        layers.RandomZoom(MEDICAL.zoom, **constant),
        layers.RandomBrightness(MEDICAL.brightness, value_range=(0, 255)),
        layers.RandomContrast(MEDICAL.contrast, value_range=(0, 255)),
        layers.GaussianNoise(MEDICAL.noise),  # of a unit scale: it allows no other
    )

    class Varied(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """As in a training step: a functional model would call them as for prediction."""

        def call(self, images: Any) -> Any:
            for layer in varying:
                images = layer(images, training=True)
            return images

    pixels = keras.Input((side, side, 1))
    return keras.Model(pixels, Varied()(pixels))


def seconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Processor time of each call in every round, after one that compiles."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            took[name].append(time.process_time() - start)
    return took


def main() -> None:
    """Print a row for each way, and the time that drawing takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    stored = np.random.default_rng(0).integers(0, 256, (given.batch, given.side, given.side))
    pixels = stored.astype(np.uint8)
    drawn = draw(MEDICAL, seed=0, epoch=0, images=given.batch).parameters
    mine, others = ours(given.side), keras_layers(given.side)
    floats = stored[..., None].astype(np.float32)
    took = seconds(
        {
            "cxrbench": lambda: mine.predict_on_batch([pixels, drawn]),
            "Keras' layers": lambda: others.predict_on_batch(floats),
        },
        given.rounds,
    )
    print(f"{load_keras().backend.backend()}, {given.batch} images of {given.side} pixels")
    for name, times in took.items():
        print(f"{name:14} {1e3 * median(times):8.1f} ms ({1e3 * min(times):.1f} at best)")
    start = time.process_time()
    draw(MEDICAL, seed=0, epoch=1, images=NIH_IMAGES)
    print(
        f"drawing an epoch of {NIH_IMAGES:,} images: {1e3 * (time.process_time() - start):.0f} ms"
    )


if __name__ == "__main__":
    main()
