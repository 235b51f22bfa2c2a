"""The ways on Keras: cxrbench's own path, plain `fit` and `predict`, and the same from PNGs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from _ways import CXRBENCH, FIT, PNG, Conditions, Run, Task

from cxrbench.builtin.concat import Concat
from cxrbench.builtin.resnet50 import ResNet50
from cxrbench.experiment.settling import computing
from cxrbench.modeling.assemble import build_top, build_trunk, freeze_below
from cxrbench.modeling.augment import MEDICAL, Augmentation, draw
from cxrbench.modeling.backend import choose_device, load_keras
from cxrbench.modeling.inputs import Inputs, feed, training_view
from cxrbench.modeling.parallel import train_batch
from cxrbench.modeling.predict import keras_predictor, predict_logits
from cxrbench.modeling.train import masked_cross_entropy, shuffled_batches
from cxrbench.settings import Settings

LEARNING_RATE = 1e-4


@contextmanager
def keras_task(task: Task, conditions: Conditions) -> Iterator[dict[str, Any]]:
    """What makes the `Run` of each way; their models live as long as the context."""
    settings = Settings(device=choose_device("auto"), precision=conditions.precision)
    with computing(settings):
        plain = _Plain(task, conditions)
        yield {
            CXRBENCH: lambda: cxrbench_way(task, conditions),
            FIT: plain.from_memory,
            PNG: plain.from_pngs,
        }


def whole_model(task: Task, conditions: Conditions) -> Any:
    """The recipe ``resnet`` with random weights: grey float pixels to logits."""
    backbone = ResNet50()
    trunk = build_trunk(backbone, conditions.size, None, 0)
    if task == "finetune":
        freeze_below(trunk, backbone.freeze_at)
    labels = conditions.labels().shape[1]
    return build_top(trunk, Concat(), {}, labels=labels, seed=0).whole()


def cxrbench_way(task: Task, conditions: Conditions) -> Run:
    """The steps of `cxrbench.modeling.train`, without validation and checkpoints."""
    model = whole_model(task, conditions)
    augmentation = MEDICAL if conditions.augment == "medical" else Augmentation()
    varied = augmentation.changes_images
    clahe = conditions.array("clahe") if varied else None
    inputs = Inputs(conditions.array("pixels"), {}, conditions.labels(), clahe)
    rows = np.arange(conditions.images)
    if task == "infer":
        predict = keras_predictor(model, inputs)
        return lambda steps: len(
            predict_logits(predict, inputs, rows[: steps * conditions.batch], conditions.batch)
        )
    view = training_view(model, image_size=inputs.image_size, augmented=varied)
    view.compile(
        optimizer=load_keras().optimizers.Adam(LEARNING_RATE),
        loss=masked_cross_entropy,
    )
    view.optimizer.build(view.trainable_variables)

    def run(steps: int) -> int:
        draws = draw(augmentation, seed=0, epoch=0, images=len(rows)) if varied else None
        batches = list(shuffled_batches(rows, conditions.batch, 0, 0))[:steps]
        for ready, labels in feed(inputs, batches, draws):
            train_batch(view, ready, labels)
        return len(batches) * conditions.batch

    return run


class _Plain:
    """A Keras script: the same network on float images, without augmentation."""

    def __init__(self, task: Task, conditions: Conditions) -> None:
        self._task = task
        self._conditions = conditions
        self._made: Any = None
        self._labels = conditions.labels()

    def from_memory(self) -> Run:
        """From one NumPy array of float32."""
        batch = self._conditions.batch
        images = self._conditions.array("pixels")[..., None].astype(np.float32)
        if self._task == "infer":
            return lambda steps: len(
                self._model().predict({"image": images[: steps * batch]}, batch, verbose=0)
            )

        def run(steps: int) -> int:
            count = steps * batch
            x, y = {"image": images[:count]}, self._labels[:count]
            self._model().fit(x, y, batch, verbose=0)
            return count

        return run

    def from_pngs(self) -> Run:
        """From PNG files that threads decode anew in each epoch."""
        conditions = self._conditions

        def run(steps: int) -> int:
            data = _pngs(conditions, self._labels, steps)
            if self._task == "infer":
                self._model().predict(data, verbose=0)
            else:
                self._model().fit(data, verbose=0)
            return steps * conditions.batch

        return run

    def _model(self) -> Any:
        if self._made is None:
            keras = load_keras()
            self._made = whole_model(self._task, self._conditions)
            self._made.compile(
                optimizer=keras.optimizers.Adam(LEARNING_RATE),
                loss=keras.losses.BinaryCrossentropy(from_logits=True),
            )
        return self._made


def _pngs(conditions: Conditions, labels: np.ndarray, steps: int) -> Any:
    """A `keras.utils.PyDataset` as scripts have it: read, decode, resize, stack."""
    import cv2

    paths, size, batch = conditions.pngs(), conditions.size, conditions.batch
    cv2.setNumThreads(1)  # batches are read side by side

    def decoded(number: int) -> np.ndarray:
        image = cv2.imread(str(paths[number % len(paths)]), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return small[..., None].astype(np.float32)

    class Films(load_keras().utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
            rows = range(index * batch, (index + 1) * batch)
            return {"image": np.stack([decoded(row) for row in rows])}, labels[rows]

    return Films(workers=conditions.png_workers, use_multiprocessing=False)
