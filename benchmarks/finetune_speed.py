"""How fast `finetune` trains beside plain Keras `fit`, and what feeding and augmenting cost.

    python benchmarks/finetune_speed.py FOLDER_OF_PNGS [--images 160] [--rounds 5]

ResNet50 with its last stage and the head training, random weights, on this machine's default
device. Every variant trains the same network on the same images; a round is one epoch of each, one
after the other, so that other work on the machine meets them all. The first round compiles and is
not counted.

one batch       the same batch in every step, in memory: what computing alone takes
store           as cxrbench trains: batches from a memory-mapped uint8 store, medical augmentation
store, plain    the same without augmentation
activations     the same without augmentation, with what the frozen part gives kept
fit, array      `model.fit` on a float32 array in memory
fit, PNGs       `model.fit` on a `PyDataset` that decodes and resizes PNGs in every epoch
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from cxrbench.builtin.concat import Concat
from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.modeling.assemble import (
    Network,
    build_top,
    build_trunk,
    freeze_below,
    split_trunk,
)
from cxrbench.modeling.augment import MEDICAL, draw
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.inputs import Inputs, feed, training_view
from cxrbench.modeling.parallel import train_batch
from cxrbench.modeling.train import masked_cross_entropy, shuffled_batches
from cxrbench.store.decoding import decode, fit_image

LABELS = 15


def network(size: int) -> Network:
    """ResNet50 that trains from its last stage on, and a head."""
    trunk = build_trunk(ResNet50(), size, None, 0)
    freeze_below(trunk, ResNet50.freeze_at)
    return build_top(trunk, Concat(), {}, labels=LABELS, seed=0)


def compiled(model: Any) -> Any:
    """Compiled as cxrbench does."""
    adam = load_keras().optimizers.Adam(1e-4)
    model.compile(adam, masked_cross_entropy)
    model.optimizer.build(model.trainable_variables)
    return model


def stored(paths: list[Path], size: int, folder: Path) -> np.ndarray:
    """The images in a memory-mapped store (N, size, size) uint8."""
    file = folder / "pixels.bin"
    pixels = np.memmap(file, np.uint8, "w+", shape=(len(paths), size, size))
    for row, path in enumerate(paths):
        pixels[row] = fit_image(decode(path.read_bytes(), max_pixels=10**8), size, "stretch")
    pixels.flush()
    return np.memmap(file, np.uint8, "r", shape=pixels.shape).view(np.ndarray)


def png_dataset(paths: list[Path], labels: np.ndarray, size: int, batch: int) -> Any:
    """What a script does: read, resize and stack the files of a batch, in every epoch."""
    import cv2

    keras = load_keras()

    class Files(keras.utils.PyDataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return len(paths) // batch

        def __getitem__(self, number: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
            rows = range(number * batch, (number + 1) * batch)
            images = [cv2.imread(str(paths[row]), cv2.IMREAD_GRAYSCALE) for row in rows]
            small = [cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in images]
            return {"image": np.stack(small)[..., None].astype(np.float32)}, labels[list(rows)]

    return Files()


def variants(
    paths: list[Path], size: int, batch: int, folder: Path
) -> dict[str, Callable[[int], None]]:
    """One epoch of each variant, by its name."""
    pixels = stored(paths, size, folder)
    labels = np.random.default_rng(0).integers(0, 2, (len(paths), LABELS)).astype(np.float32)
    rows = np.arange(len(paths))
    inputs = Inputs(pixels, {}, labels, pixels)
    own = compiled(training_view(network(size).whole(), image_size=size, augmented=True))
    plain = compiled(training_view(network(size).whole(), image_size=size, augmented=False))
    scripts = compiled(network(size).whole())
    split = network(size)
    halves = split_trunk(split.trunk, ResNet50.freeze_at)
    assert halves is not None
    below, above = halves
    floats = pixels[..., None].astype(np.float32)
    kept = replace(inputs, image=below.predict(floats, batch, verbose=0).astype(np.float16))
    upper = compiled(replace(split, trunk=above).whole())

    def from_store(model: Any, given: Inputs, augmented: bool) -> Callable[[int], None]:
        def epoch(number: int) -> None:
            draws = None
            if augmented:
                draws = draw(MEDICAL, seed=0, epoch=number, images=len(rows))
            for gathered, truth in feed(given, shuffled_batches(rows, batch, 0, number), draws):
                train_batch(model, gathered, truth)

        return epoch

    first = rows[:batch]
    draws = draw(MEDICAL, seed=0, epoch=0, images=len(rows))
    fixed = {"image": pixels[first], "augmentation": draws.parameters[first]}

    def one_batch(number: int) -> None:
        for _ in range(len(rows) // batch):
            train_batch(own, fixed, labels[first])

    def fit_array(number: int) -> None:
        scripts.fit({"image": floats}, labels, batch_size=batch, epochs=1, verbose=0)

    def fit_files(number: int) -> None:
        scripts.fit(png_dataset(paths, labels, size, batch), epochs=1, verbose=0)

    return {
        "one batch": one_batch,
        "store": from_store(own, inputs, True),
        "store, plain": from_store(plain, replace(inputs, clahe=None), False),
        "activations": from_store(upper, replace(kept, clahe=None), False),
        "fit, array": fit_array,
        "fit, PNGs": fit_files,
    }


def main() -> None:
    """Print images per second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    paths = sorted(given.folder.rglob("*.png"))[: given.images // given.batch * given.batch]
    if not paths:
        parser.error(f"there are no PNGs in {given.folder}")
    with tempfile.TemporaryDirectory() as folder:
        epochs = variants(paths, given.size, given.batch, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in epochs}
        for number in range(given.rounds + 1):
            for name, epoch in epochs.items():
                started = time.perf_counter()
                epoch(number)
                seconds[name].append(time.perf_counter() - started)
    print(f"{len(paths)} images of {given.size}, batches of {given.batch}, {given.rounds} rounds")
    print(f"{'':16}{'images/s':>10}{'time / one batch':>18}{'time / store':>14}")
    counted = {name: taken[1:] for name, taken in seconds.items()}
    for name, taken in counted.items():
        # Ratios within a round: what slows the machine down slows both.
        to_batch, to_store = (
            median(a / b for a, b in zip(taken, counted[base], strict=True))
            for base in ("one batch", "store")
        )
        rate = len(paths) / median(taken)
        print(f"{name:16}{rate:10.1f}{to_batch:18.3f}{to_store:14.3f}")


if __name__ == "__main__":
    main()
