"""Epochs: their history, early stopping and the reduction of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FACTOR = 0.5
SMALLEST_LEARNING_RATE = 1e-7


@dataclass(frozen=True)
class TrainingSchedule:
    """The state of early stopping and of the learning rate; a score is better when higher.

    ``patience`` epochs without a better score end the training; every ``plateau`` of them halve
    the learning rate (the rules of Keras' EarlyStopping and ReduceLROnPlateau).
    """

    learning_rate: float
    patience: int
    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    stale: int = 0

    @property
    def plateau(self) -> int:
        return max(1, self.patience // 2)

    @property
    def improved(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.epoch > 0 and self.best_epoch == self.epoch

    @property
    def exhausted(self) -> bool:
        return self.epoch - self.best_epoch >= self.patience

    def after(self, score: float) -> TrainingSchedule:
        """The state after one more epoch with this score."""
        if score > self.best:
            return replace(
                self, epoch=self.epoch + 1, best=score, best_epoch=self.epoch + 1, stale=0
            )
        stale, rate = self.stale + 1, self.learning_rate
        if stale >= self.plateau:
            stale, rate = 0, max(rate * FACTOR, SMALLEST_LEARNING_RATE)
        return replace(self, epoch=self.epoch + 1, stale=stale, learning_rate=rate)


@dataclass(frozen=True)
class Epoch:
    """One row of ``history.csv``; the validation scores are of the whole validation split."""

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
class Position:
    """Complete epochs, then the losses and the seconds of the finished batches of the next one."""

    history: tuple[Epoch, ...] = ()
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
