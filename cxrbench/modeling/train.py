"""Train a model on one split; the best weights by validation macro AUROC win."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.errors import DataError, RunError
from cxrbench.evaluation.validation import validation_scores
from cxrbench.interfaces import Advance, Display
from cxrbench.modeling.backend import jit_compile, load_keras
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.predict import predict_logits, sigmoid
from cxrbench.modeling.schedule import Schedule


@dataclass(frozen=True)
class Epoch:
    """One row of ``history.csv``; the validation scores are over the whole validation split."""

    epoch: int
    learning_rate: float
    loss: float
    val_loss: float
    val_macro_auroc: float
    val_auc: float
    val_accuracy: float
    val_precision: float
    val_recall: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class TrainSettings:
    """How to train: Adam with this learning rate, early stopping with this patience."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    seed: int


@dataclass(frozen=True)
class Training:
    """What training gave; the model it was called with holds the weights of ``best_epoch``."""

    history: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    images_per_second: float


def masked_cross_entropy(y_true: Any, logits: Any) -> Any:
    """Binary cross-entropy (scalar) over the known labels; NaN in ``y_true`` means unknown.

    Keras' own loss has no element-wise mask, and an unknown label must not count as absent.
    """
    from keras import ops

    known = ops.logical_not(ops.isnan(y_true))
    truth = ops.where(known, y_true, ops.zeros_like(y_true))
    losses = ops.binary_crossentropy(truth, logits, from_logits=True)
    counted = ops.cast(known, losses.dtype)
    return ops.sum(losses * counted) / ops.maximum(ops.sum(counted), 1.0)


def train(
    model: Any,
    inputs: Inputs,
    *,
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    settings: TrainSettings,
    display: Display,
) -> Training:
    """Train ``model`` (inputs to logits) in place and leave it with its best weights.

    Raises
    ------
    DataError : the validation split has no label with both classes, so nothing can be monitored.
    RunError : the loss or a prediction is no longer a finite number.
    """
    y_val = inputs.labels[val_rows]
    _check_validation(y_val)
    keras = load_keras()
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss=masked_cross_entropy,
        jit_compile=jit_compile(),
    )
    # Else TensorFlow traces the first step twice, the first time to make these variables: 17 s
    # instead of 8 for all of ResNet50.
    model.optimizer.build(model.trainable_variables)
    schedule = Schedule(settings.learning_rate, settings.patience)
    batch_size = min(settings.batch_size, len(train_rows))
    history: list[Epoch] = []
    best: list[np.ndarray] = []
    total = settings.epochs * (len(train_rows) // batch_size)
    with display.task("training", total) as advance:
        while schedule.epoch < settings.epochs and not schedule.exhausted:
            model.optimizer.learning_rate = schedule.learning_rate
            order = shuffled_batches(train_rows, batch_size, settings.seed, schedule.epoch)
            fitted = _fit_epoch(model, inputs, order, advance)
            logits = predict_logits(model, inputs, val_rows, batch_size)
            _check_finite(fitted.loss, logits, schedule.epoch + 1, settings)
            epoch = _scored_epoch(fitted, y_val, logits, schedule)
            schedule = schedule.after(epoch.val_macro_auroc)
            if schedule.improved:
                best = model.get_weights()
            history.append(epoch)
            advance(0, _told(epoch))
    model.set_weights(best)
    seconds = sum(epoch.seconds for epoch in history)
    images = sum(epoch.seconds * epoch.images_per_second for epoch in history)
    return Training(tuple(history), schedule.best_epoch, seconds, images / seconds)


@dataclass(frozen=True)
class _Fitted:
    loss: float
    images: int
    seconds: float


def _fit_epoch(
    model: Any, inputs: Inputs, batches: Iterator[np.ndarray], advance: Advance
) -> _Fitted:
    started, losses, images = time.perf_counter(), [], 0
    for rows in batches:
        losses.append(float(model.train_on_batch(inputs.gather(rows), inputs.labels[rows])))
        images += len(rows)
        advance(1)
    return _Fitted(float(np.mean(losses)), images, time.perf_counter() - started)


def _scored_epoch(
    fitted: _Fitted, y_true: np.ndarray, logits: np.ndarray, schedule: Schedule
) -> Epoch:
    scores = validation_scores(y_true, sigmoid(logits))
    return Epoch(
        epoch=schedule.epoch + 1,
        learning_rate=schedule.learning_rate,
        loss=fitted.loss,
        val_loss=cross_entropy(y_true, logits),
        val_macro_auroc=scores.macro_auroc,
        val_auc=scores.micro_auroc,
        val_accuracy=scores.accuracy,
        val_precision=scores.precision,
        val_recall=scores.recall,
        seconds=fitted.seconds,
        images_per_second=fitted.images / fitted.seconds,
    )


def shuffled_batches(
    rows: np.ndarray, batch_size: int, seed: int, epoch: int
) -> Iterator[np.ndarray]:
    """The epoch's batches, in an order that (seed, epoch) alone decides.

    The rows that do not fill a last batch wait for another epoch's order: one batch shape means
    one compilation, and batch normalisation never sees a batch of two.
    """
    order = np.random.default_rng((seed, epoch)).permutation(rows)
    for start in range(0, len(order) - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def cross_entropy(y_true: np.ndarray, logits: np.ndarray) -> float:
    """`masked_cross_entropy` in NumPy, float64."""
    known = ~np.isnan(y_true)
    z, y = logits[known].astype(np.float64), y_true[known]
    return float(np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))))


def _check_validation(y_true: np.ndarray) -> None:
    if not ((y_true == 1).any(axis=0) & (y_true == 0).any(axis=0)).any():
        raise DataError(
            "the validation split has no label with both classes",
            expected="at least one label that some validation images have and others have not",
            found=f"{len(y_true)} validation images",
            fix="give validation a larger share with --fractions, or use more images",
        )


def _check_finite(loss: float, logits: np.ndarray, epoch: int, settings: TrainSettings) -> None:
    wrong = np.count_nonzero(~np.isfinite(logits))
    if not np.isfinite(loss) or wrong:
        raise RunError(
            f"training diverged in epoch {epoch}",
            expected="a finite loss and finite predictions",
            found=f"loss {loss}, {wrong} of {logits.size} validation logits not finite",
            fix=f"use a smaller --learning-rate than {settings.learning_rate:g}; "
            "if that changes nothing, check the file given to --weights",
        )


def _told(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.epoch} val AUROC {epoch.val_macro_auroc:.3f} "
        f"loss {epoch.loss:.3f} val {epoch.val_loss:.3f} {epoch.images_per_second:,.0f}/s"
    )
