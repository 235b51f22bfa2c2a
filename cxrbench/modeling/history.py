"""What is told of a training: its epochs, and where in the next one it stands."""

from __future__ import annotations

from dataclasses import dataclass


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
class Position:
    """Whole epochs, then the losses and the seconds of the batches done in the next one."""

    history: tuple[Epoch, ...] = ()
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
