"""Training images with another patient's input: the control of whether a part knows anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrbench.errors import DataError

# Keeps these draws apart from those of augmentation and of the images' order.
_STREAM = 0x9E2


def other_patients(
    train_rows: np.ndarray, patients: Sequence[str], *, images: int, seed: int
) -> np.ndarray:
    """The row that each row of a cohort has a permuted input from.

    The training patients, in an order that the seed decides, take from the next one each, the last
    from the first: everyone gives once, nobody to himself. Image k of a patient takes image k of
    the other, counted anew from the first where there are fewer. What the input says of images
    stays as it is, and what it says of their labels is gone. Rows outside of training keep their
    own.

    Parameters
    ----------
    train_rows : (n,) rows of the training split.
    patients : (n,) whose they are.
    images : N, the rows of the cohort.

    Returns
    -------
    (N,) int64.

    Raises
    ------
    DataError : there is one training patient only.
    """
    names, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise DataError(
            "nothing can be permuted across training patients",
            expected="at least two patients in the training split",
            found=f"{len(names)}",
            fix="use more patients, or leave out permuted=true",
        )
    stream = np.random.SeedSequence(seed, spawn_key=(_STREAM,))
    order = np.random.default_rng(stream).permutation(len(names))
    of_patient = [train_rows[owner == number] for number in range(len(names))]
    sources = np.arange(images)
    for taking, giving in zip(order, np.roll(order, -1), strict=True):
        sources[of_patient[taking]] = np.resize(of_patient[giving], len(of_patient[taking]))
    return sources
