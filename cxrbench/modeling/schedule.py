"""Epochs: their history, early stopping and the reduction of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FACTOR = 0.5
SMALLEST_LEARNING_RATE = 1e-7
EARLY = 3
"""An epoch up to this one that is kept is worth a warning."""
FEW_POSITIVES = 100
"""With fewer positive labels in the validation split, the choice of an epoch is worth a warning."""


@dataclass(frozen=True)
class TrainingSchedule:
    """The state of early stopping and of the learning rate; a score is better when higher.

    ``patience`` epochs without a better score end the training; every ``plateau`` of them halve
    the learning rate (the rules of Keras' EarlyStopping and ReduceLROnPlateau). Before the epoch
    ``first`` no score counts: each epoch replaces the one before it.
    """

    learning_rate: float
    patience: int
    first: int = 1
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
        if self.epoch + 1 < self.first:
            return replace(self, epoch=self.epoch + 1, best_epoch=self.epoch + 1)
        if score > self.best:
            return replace(
                self, epoch=self.epoch + 1, best=score, best_epoch=self.epoch + 1, stale=0
            )
        stale, rate = self.stale + 1, self.learning_rate
        if stale >= self.plateau:
            stale, rate = 0, max(rate * FACTOR, SMALLEST_LEARNING_RATE)
        return replace(self, epoch=self.epoch + 1, stale=stale, learning_rate=rate)


def schedule_for(
    learning_rate: float, patience: int, *, epochs: int, steps: int, min_steps: int
) -> TrainingSchedule:
    """The schedule of a training of at most ``epochs`` of ``steps`` each.

    The first epoch whose score counts is the one in which step ``min_steps`` is reached, or that
    after three quarters of the ``epochs`` if it is earlier. ``patience`` is at least as long.
    Validation splits of a few dozen images have high scores by chance in the first epochs, in
    which little is learnt yet. docs/explanation/head.md has what this was measured to gain.
    """
    least = min(math.ceil(min_steps / steps), max(3 * epochs // 4, 1))
    return TrainingSchedule(learning_rate, max(patience, least), first=max(least, 1))


def kept_text(kept: int, trained: int, epochs: int) -> str:
    """Which of the ``trained`` epochs was kept; ``epochs`` is the largest number allowed."""
    if trained < epochs:
        return f"stopped early after epoch {trained}, kept epoch {kept}"
    return f"trained {trained} epochs, kept epoch {kept}"


def early_epoch_warning(kept: int, trained: int) -> str:
    """Why one of the first epochs may be kept by chance; empty for a later one."""
    if kept > EARLY or trained <= EARLY:
        return ""
    return (
        f"epoch {kept} of {trained} was kept, one of the first {EARLY}; in a small cohort little "
        "is learnt by then (see --min-steps and --patience)"
    )


def few_positives_warning(val_positives: int | None) -> str:
    """Why any epoch may be kept by chance; empty with positives enough, or None: unknown."""
    if val_positives is None or val_positives >= FEW_POSITIVES:
        return ""
    return (
        f"the validation split has {val_positives} positive labels, fewer than {FEW_POSITIVES}: "
        "which epoch is kept depends on chance"
    )


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
