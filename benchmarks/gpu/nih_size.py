"""Ten epochs of `resnet` and of `resnet+orb` at NIH's size, by cxrbench's own training code.

    KERAS_BACKEND=jax python benchmarks/gpu/nih_size.py [--train full] [--json FILE]

112,120 generated images in a store on disk, random labels for 15 findings, 30,805 patients. ORB's
vectors are replaced by 256 random numbers for each image: extracting and encoding them is not what
is timed here. `README.md` beside this file says what the numbers mean.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Watch, gigabytes, percent, say, synchronise, table
from _store import random_labels, write_pixels

from cxrbench import Cohort
from cxrbench.builtin.concat import Concat
from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.data.splits import Split, split_by_patient
from cxrbench.experiment.settling import computing
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics, freeze_below
from cxrbench.modeling.augment import MEDICAL, Augmentation
from cxrbench.modeling.backend import choose_device, choose_precision, gpu_names, load_keras
from cxrbench.modeling.checkpoint import Checkpoint, Checkpoints
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.predict import keras_predictor, predict_logits
from cxrbench.modeling.train import TrainSettings, train
from cxrbench.output.display import RichDisplay
from cxrbench.settings import Settings
from cxrbench.store.stores import map_array

RECIPES = ("resnet", "resnet+orb")
AIM_MINUTES = 15
IMAGES_PER_PATIENT = 112_120 / 30_805
WORDS = 256


class TimedCheckpoints(Checkpoints):
    """Checkpoints that know how long they held training up, reading the GPU's memory included."""

    saves = 0
    seconds = 0.0

    def save(self, checkpoint: Checkpoint, best_epoch: int, *, start: float | None = None) -> None:
        """Save, and time it from the start of collecting the values."""
        start = time.perf_counter() if start is None else start
        super().save(checkpoint, best_epoch, start=start)
        self.saves += 1
        self.seconds += time.perf_counter() - start


class Clock:
    """Wall times of the parts, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Time the context."""
        started = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - started
        say(f"{part}: {self.seconds[part]:.1f} s")


@dataclass(frozen=True, eq=False)
class Data:
    """What both recipes train on."""

    pixels: np.ndarray
    clahe: np.ndarray
    words: np.ndarray
    labels: np.ndarray
    split: Split


def generated(given: argparse.Namespace, folder: Path, clock: Clock) -> Data:
    """Images, random vectors and labels on disk, and the split that cxrbench makes of them."""
    images = given.images
    with clock.timing("write the store"):
        pixels, clahe = write_pixels(folder, images, given.size)
        path = folder / "words.bin"
        np.random.default_rng(3).random((images, WORDS), np.float32).tofile(path)
        words = map_array(path, (images, WORDS), np.dtype(np.float32))
    labels = random_labels(images)
    with clock.timing("split by patient"):
        split = split_by_patient(_cohort(labels))
    return Data(pixels, clahe, words, labels, split)


def _cohort(labels: np.ndarray) -> Cohort:
    images = len(labels)
    patients = np.random.default_rng(4).integers(
        0, max(10, int(images / IMAGES_PER_PATIENT)), images
    )
    unknown = ("",) * images
    return Cohort(
        name="generated",
        label_names=tuple(f"label {number}" for number in range(labels.shape[1])),
        image_ids=tuple(f"{row:06d}" for row in range(images)),
        patient_ids=tuple(map(str, patients)),
        labels=labels,
        ages=np.full(images, np.nan, np.float32),
        sexes=unknown,
        views=unknown,
        sources=unknown,
        no_finding=None,
    )


def measure(recipe: str, data: Data, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Build, train and predict as a run does; what each part took."""
    clock, backend = Clock(), load_keras().backend.backend()
    rows = {part: data.split.rows(part) for part in ("train", "val", "test")}
    vectors = {"orb": data.words} if recipe.endswith("+orb") else {}
    augmentation = MEDICAL if given.augment == "medical" else Augmentation()
    clahe = data.clahe if augmentation.changes_images else None
    inputs = Inputs(data.pixels, vectors, data.labels, clahe)
    with clock.timing("assemble"):
        model = _model(vectors, data, given)
    checkpoints = TimedCheckpoints(folder, recipe)
    watch = Watch(backend)
    with clock.timing("train"), watch.watching():
        training = train(
            model,
            inputs,
            train_rows=rows["train"],
            val_rows=rows["val"],
            settings=TrainSettings(
                epochs=given.epochs,
                batch_size=given.batch,
                learning_rate=1e-4,
                patience=given.epochs + 1,  # never stops early
                seed=0,
                augmentation=augmentation,
            ),
            display=RichDisplay(),
            checkpoints=checkpoints,
        )
        synchronise(backend)
    with clock.timing("predict val and test"):
        predict = keras_predictor(model, inputs)
        for part in ("val", "test"):
            predict_logits(predict, inputs, rows[part], given.batch)
    epochs = [epoch.seconds for epoch in training.history]
    usual = statistics.median(epochs[1:] or epochs)
    seconds = clock.seconds
    return {
        "recipe": recipe,
        "seconds": {**seconds, "total": sum(seconds.values())},
        "train_seconds_of": {
            "steps": training.seconds,
            "checkpoints": checkpoints.seconds,
            "validation and the rest": seconds["train"] - training.seconds - checkpoints.seconds,
        },
        "epoch_seconds": epochs,
        "compiling_seconds": max(0.0, epochs[0] - usual),
        "images_per_second": len(rows["train"]) // given.batch * given.batch / usual,
        "checkpoints_saved": checkpoints.saves,
        "checkpoints_share": checkpoints.seconds / seconds["train"],
        "gpu_share": watch.gpu_share,
        "peak_memory": watch.peak_memory,
        "images": {part: len(chosen) for part, chosen in rows.items()},
    }


def _model(vectors: dict[str, np.ndarray], data: Data, given: argparse.Namespace) -> Any:
    backbone = ResNet50()
    trunk = build_trunk(backbone, given.size, None, 0)
    if given.train == "finetune":
        freeze_below(trunk, backbone.freeze_at)
    train_rows = data.split.rows("train")
    statistics_of = {name: feature_statistics(all_, train_rows) for name, all_ in vectors.items()}
    labels = data.labels.shape[1]
    return build_top(trunk, Concat(), statistics_of, labels=labels, seed=0).whole()


def report(told: list[dict[str, Any]], before: dict[str, float]) -> str:
    """All of it for people to read."""
    rows = [(part, *[f"{seconds:.1f} s"] * len(told)) for part, seconds in before.items()]
    rows += [
        (part, *(f"{one['seconds'][part]:.1f} s" for one in told)) for part in told[0]["seconds"]
    ]
    for part in told[0]["train_seconds_of"]:
        rows.append(
            (f"  of train: {part}", *(f"{o['train_seconds_of'][part]:.1f} s" for o in told))
        )
    rows += [
        ("compiling, about", *(f"{one['compiling_seconds']:.1f} s" for one in told)),
        ("training, images/s", *(f"{one['images_per_second']:,.1f}" for one in told)),
        ("checkpoints' share", *(f"{one['checkpoints_share']:.1%}" for one in told)),
        ("GPU computes", *(percent(one["gpu_share"]) for one in told)),
        ("peak memory", *(gigabytes(one["peak_memory"]) for one in told)),
    ]
    total = sum(one["seconds"]["total"] for one in told) / 60
    return "\n".join(
        [
            table(("", *(one["recipe"] for one in told)), rows, names=1),
            f"together {total:.1f} minutes, writing and splitting aside; the aim is under "
            f"{AIM_MINUTES} on one GPU of the H200's class, at 112,120 images and 10 epochs",
        ]
    )


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=112_120)
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument(
        "--train",
        choices=["finetune", "full"],
        default="finetune",
        help="finetune: the last stage and the head, as a run with ImageNet weights; full: all",
    )
    parser.add_argument("--precision", choices=["auto", "bfloat16", "float32"], default="auto")
    parser.add_argument("--augment", choices=["medical", "none"], default="medical")
    parser.add_argument("--folder", type=Path, help="where the store may be, instead of /tmp")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    return parser.parse_args()


def main() -> None:
    """Generate, measure both recipes one after the other, and print."""
    given, clock = parse(), Clock()
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    device = choose_device("auto")
    settings = Settings(device=device, precision=choose_precision(given.precision, device))
    told = []
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        data = generated(given, folder, clock)
        for recipe in given.recipes:
            say(f"{recipe}: {given.epochs} epochs")
            run = folder / recipe
            run.mkdir()
            with computing(settings):
                told.append(measure(recipe, data, given, run))
    keras = load_keras()
    about = {
        "gpu": (*gpu_names(), None)[0],
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "precision": settings.precision,
        "train": given.train,
        "orb": f"replaced by {WORDS} random numbers for each image",
    }
    print(report(told, clock.seconds))
    print(", ".join(f"{key}: {value}" for key, value in about.items()))
    if given.json is not None:
        options = {key: str(value) for key, value in vars(given).items()}
        whole = {"options": options, "about": about, "before": clock.seconds, "recipes": told}
        given.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
