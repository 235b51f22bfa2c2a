"""Train a model on one split and return it with the weights of the best validation macro AUROC."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrbench.errors import DataError, RunError
from cxrbench.interfaces import Advance, Display
from cxrbench.metrics.auroc import validation_scores
from cxrbench.modeling.augment import Augmentation, Draws, draw
from cxrbench.modeling.backend import load_keras, random_state, set_random_state
from cxrbench.modeling.batch_size import memory_advice
from cxrbench.modeling.checkpoint import Checkpoint, Checkpoints
from cxrbench.modeling.inputs import Inputs, feed, training_view
from cxrbench.modeling.parallel import check_batch_size, train_batch
from cxrbench.modeling.predict import keras_predictor, predict_logits, sigmoid
from cxrbench.modeling.schedule import (
    Epoch,
    Position,
    TrainingSchedule,
    early_epoch_warning,
    few_positives_warning,
    kept_text,
    schedule_for,
)

NO_AUGMENTATION = Augmentation()


@dataclass(frozen=True)
class TrainSettings:
    """Adam with this learning rate; early stopping with this patience, not before ``min_steps``."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    seed: int
    augmentation: Augmentation = NO_AUGMENTATION
    devices: int = 1
    min_steps: int = 0


@dataclass(frozen=True)
class Training:
    """The course of a training; its model has the weights of ``best_epoch``.

    A linear head has no epochs.
    """

    history: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    seconds: float = 0.0
    images_per_second: float | None = None


def masked_cross_entropy(y_true: Any, logits: Any) -> Any:
    """Return the binary cross-entropy (scalar) over the known labels; NaN means unknown.

    Keras' own loss has no element-wise mask, and an unknown label must not count as absent.
    """
    from keras import ops

    has_label = ops.logical_not(ops.isnan(y_true))
    truth = ops.where(has_label, y_true, ops.zeros_like(y_true))
    losses = ops.binary_crossentropy(truth, logits, from_logits=True)
    mask = ops.cast(has_label, losses.dtype)
    return ops.sum(losses * mask) / ops.maximum(ops.sum(mask), 1.0)


def train(
    model: Any,
    inputs: Inputs,
    *,
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    settings: TrainSettings,
    display: Display,
    checkpoints: Checkpoints | None = None,
) -> Training:
    """Train ``model`` (inputs to logits) in place and leave it with its best weights.

    Interrupted training continues from its last checkpoint and ends with the same result.

    Raises
    ------
    DataError : the validation split has no label with both classes, so no score can be monitored.
    RunError : the loss or a prediction is no longer a finite number, or a checkpoint cannot be
        written.
    OutOfMemory : a batch does not fit.
    """
    y_val = inputs.labels[val_rows]
    require_two_classes(y_val)
    most = len(train_rows) // settings.devices * settings.devices
    batch_size = min(settings.batch_size, most)
    check_batch_size(batch_size, settings.devices)
    steps = len(train_rows) // batch_size
    with (
        memory_advice(f"training in batches of {batch_size}"),
        display.task("training", settings.epochs * steps) as advance,
    ):
        state = _TrainingState(model, inputs, settings, checkpoints)
        predict = keras_predictor(model, inputs)
        schedule, position = state.resume(display, steps)
        advance(steps * schedule.epoch + len(position.losses))
        while schedule.epoch < settings.epochs and not schedule.exhausted:
            state.model.optimizer.learning_rate = schedule.learning_rate
            order = shuffled_batches(train_rows, batch_size, settings.seed, schedule.epoch)
            position = state.finish_epoch(list(order), position, schedule, advance)
            logits = predict_logits(predict, inputs, val_rows, batch_size)
            _check_finite(position.losses, logits, schedule.epoch + 1, settings)
            epoch = _scored_epoch(position, batch_size, y_val, logits, schedule)
            position = Position(history=(*position.history, epoch))
            schedule = schedule.after(epoch.val_macro_auroc)
            state.keep(position, schedule)
            advance(
                0,
                f"epoch {epoch.epoch} val AUROC {epoch.val_macro_auroc:.3f}, "
                f"{epoch.images_per_second:,.0f} images/s",
            )
    model.set_weights(state.best)
    trained, kept = len(position.history), schedule.best_epoch
    display.say(f"  {kept_text(kept, trained, settings.epochs)}")
    positives = int(np.count_nonzero(y_val == 1))
    for warning in (early_epoch_warning(kept, trained), few_positives_warning(positives)):
        if warning:
            display.say(f"  warning: {warning}")
    seconds = sum(epoch.seconds for epoch in position.history)
    images = sum(epoch.seconds * epoch.images_per_second for epoch in position.history)
    return Training(position.history, schedule.best_epoch, seconds, images / seconds)


def trial_step(
    model: Any, inputs: Inputs, rows: np.ndarray, settings: TrainSettings
) -> Callable[[int], None]:
    """Return a function that trains one step on a batch of a size; it changes the model."""
    state = _TrainingState(model, inputs, settings, None)
    draws = state.draws(epoch=0)

    def step(size: int) -> None:
        batch = rows[:size]
        train_batch(state.model, inputs.gather(batch, draws), inputs.labels[batch])

    return step


class _TrainingState:
    """The model in training, with its best weights so far and its checkpoints."""

    def __init__(
        self,
        model: Any,
        inputs: Inputs,
        settings: TrainSettings,
        checkpoints: Checkpoints | None,
    ) -> None:
        self.best: Sequence[np.ndarray] = ()
        self._plain = model
        self._inputs = inputs
        self._settings = settings
        self._checkpoints = checkpoints
        self.model = training_view(
            model,
            image_size=inputs.image_size,
            augmented=settings.augmentation.changes_images,
        )
        # Keras decides whether XLA compiles the step: JAX always, TensorFlow with a GPU only,
        # PyTorch never. On a CPU it does not pay under TensorFlow: ResNet50 at 64 x 64 in batches
        # of 32 took 5.1 s of processor time a step instead of 1.1 (2 cores, AVX-512).
        self.model.compile(
            optimizer=load_keras().optimizers.Adam(settings.learning_rate),
            loss=masked_cross_entropy,
        )
        # Otherwise TensorFlow traces the first step twice, first to create these variables: 17 s
        # instead of 8 for all of ResNet50.
        self.model.optimizer.build(self.model.trainable_variables)
        self._bytes = sum(4 * int(np.prod(variable.shape)) for variable in self._variables())

    def resume(self, display: Display, steps: int) -> tuple[TrainingSchedule, Position]:
        """The state to continue from; the schedule follows from the scores of past epochs."""
        settings = self._settings
        schedule = schedule_for(
            settings.learning_rate,
            settings.patience,
            epochs=settings.epochs,
            steps=steps,
            min_steps=settings.min_steps,
        )
        checkpoint = None if self._checkpoints is None else self._checkpoints.load(display)
        if checkpoint is None:
            return schedule, Position()
        variables = self._variables()
        for variable, value in zip(variables, checkpoint.state[: len(variables)], strict=True):
            variable.assign(value)
        set_random_state(checkpoint.state[len(variables) :])
        self.best = checkpoint.best
        for epoch in checkpoint.position.history:
            schedule = schedule.after(epoch.val_macro_auroc)
        display.say(
            f"  continuing in epoch {schedule.epoch + 1}, after "
            f"{len(checkpoint.position.losses)} steps"
        )
        return schedule, checkpoint.position

    def finish_epoch(
        self,
        batches: Sequence[np.ndarray],
        position: Position,
        schedule: TrainingSchedule,
        advance: Advance,
    ) -> Position:
        """Train on the batches that ``position`` does not contain yet."""
        before, start = position.seconds, time.perf_counter()
        rest = batches[len(position.losses) :]
        with closing(feed(self._inputs, rest, self.draws(schedule.epoch))) as ready:
            for inputs, labels in ready:
                loss = train_batch(self.model, inputs, labels)
                position = replace(
                    position,
                    losses=(*position.losses, loss),
                    seconds=before + time.perf_counter() - start,
                )
                advance(1)
                if not math.isfinite(loss):
                    break  # training has diverged, and this state must not be saved
                if len(position.losses) < len(batches):
                    pause = time.perf_counter()
                    self._save(position, schedule)
                    start += time.perf_counter() - pause
        return position

    def draws(self, epoch: int) -> Draws | None:
        """The augmentation of each image in this epoch; None without augmentation."""
        settings = self._settings
        if not settings.augmentation.changes_images:
            return None
        return draw(
            settings.augmentation,
            seed=settings.seed,
            epoch=epoch,
            images=len(self._inputs.labels),
        )

    def keep(self, position: Position, schedule: TrainingSchedule) -> None:
        """Remember the weights if this epoch is the best, and save a checkpoint."""
        if schedule.improved:
            self.best = self._plain.get_weights()
        self._save(position, schedule)

    def _save(self, position: Position, schedule: TrainingSchedule) -> None:
        if self._checkpoints is None or not self._checkpoints.due(self._bytes):
            return
        start, ops = time.perf_counter(), load_keras().ops
        values = [ops.convert_to_numpy(variable.value) for variable in self._variables()]
        state = (*values, *random_state())
        checkpoint = Checkpoint(position, state, tuple(self.best))
        self._checkpoints.save(checkpoint, schedule.best_epoch, start=start)

    def _variables(self) -> list[Any]:
        """Everything that training changes: weights, states of dropout, Adam's moments and step."""
        return [*self.model.variables, *self.model.optimizer.variables]


def _scored_epoch(
    position: Position,
    batch_size: int,
    y_true: np.ndarray,
    logits: np.ndarray,
    schedule: TrainingSchedule,
) -> Epoch:
    scores = validation_scores(y_true, sigmoid(logits))
    return Epoch(
        epoch=schedule.epoch + 1,
        learning_rate=schedule.learning_rate,
        loss=float(np.mean(position.losses)),
        val_loss=cross_entropy(y_true, logits),
        val_macro_auroc=scores.macro_auroc,
        val_auc=scores.micro_auroc,
        val_accuracy=scores.accuracy,
        val_precision=scores.precision,
        val_recall=scores.recall,
        seconds=position.seconds,
        images_per_second=batch_size * len(position.losses) / position.seconds,
    )


def shuffled_batches(
    rows: np.ndarray, batch_size: int, seed: int, epoch: int
) -> Iterator[np.ndarray]:
    """Yield the epoch's batches, in an order that depends on (seed, epoch) alone.

    Rows that do not fill a last batch are left out of this epoch: one batch shape means one
    compilation, and batch normalisation never sees a batch of two.
    """
    order = np.random.default_rng((seed, epoch)).permutation(rows)
    for start in range(0, len(order) - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def cross_entropy(y_true: np.ndarray, logits: np.ndarray) -> float:
    """`masked_cross_entropy` in NumPy, float64."""
    has_label = ~np.isnan(y_true)
    z, y = logits[has_label].astype(np.float64), y_true[has_label]
    return float(np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))))


def require_two_classes(y_true: np.ndarray) -> None:
    """Raise `DataError` unless a label (n, L) has both classes: without, no epoch is the best."""
    if not ((y_true == 1).any(axis=0) & (y_true == 0).any(axis=0)).any():
        raise DataError(
            "the validation split has no label with both classes",
            expected="at least one label that some validation images have and others do not have",
            found=f"{len(y_true)} validation images",
            fix="use a larger validation share in --fractions, or more images",
        )


def _check_finite(
    losses: Sequence[float], logits: np.ndarray, epoch: int, settings: TrainSettings
) -> None:
    loss = float(np.mean(losses))
    wrong = np.count_nonzero(~np.isfinite(logits))
    if not np.isfinite(loss) or wrong:
        raise RunError(
            f"training diverged in epoch {epoch}",
            expected="a finite loss and finite predictions",
            found=f"loss {loss}, {wrong} of {logits.size} validation logits not finite",
            fix=f"use a smaller --learning-rate than {settings.learning_rate:g}; "
            "if that does not help, check the file of --weights",
        )
