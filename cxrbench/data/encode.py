"""From descriptors to one feature vector per image: fit on the training images, encode all."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.data.cache import key_of, locked, writing
from cxrbench.errors import PluginError

if TYPE_CHECKING:
    import numpy as np

    from cxrbench.interfaces import Advance, Display, Encoder, FeatureExtractor, FittedEncoder

ENCODING_VERSION = 1
"""Part of every key; raised when the same inputs would give other vectors."""

# What NumPy and zipfile raise for a file that was cut or changed.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError)
_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class EncodedFeatures:
    """``vectors`` (N, D) float32, one row per image in the caller's order, and what made them."""

    vectors: np.ndarray
    fitted: FittedEncoder


def encode(  # noqa: PLR0913
    descriptors_of: Callable[[int], np.ndarray],
    rows: int,
    extractor: FeatureExtractor,
    encoder: Encoder,
    train_rows: np.ndarray,
    *,
    seed: int,
    store_key: str,
    cache: Path,
    display: Display,
) -> EncodedFeatures:
    """Fit the encoder on the training rows and encode every row, or take both from the cache.

    Parameters
    ----------
    descriptors_of : gives the stored descriptors (n, d) of the image in a row.
    rows : number of images; rows are 0 to ``rows - 1``.
    extractor, encoder : the extractor turns descriptors into vectors, the encoder joins them.
    train_rows : (T,) rows of the training split, in the order in which they are fitted.
    seed : for the encoder's fit.
    store_key : stands for the descriptors: where it is equal, they are.
    cache : the result is kept in ``encodings/`` of this folder, and computed again if damaged.

    Raises
    ------
    PluginError
        The encoder's vectors differ in length, are not finite, or its arrays are no plain numbers.
    CacheError
        The result cannot be written.
    """
    about = {
        "version": ENCODING_VERSION,
        "store": store_key,
        "rows": rows,
        "train": _digest(train_rows),
        "seed": seed,
        "extractor": _identity(extractor),
        "encoder": _identity(encoder),
    }
    path = cache / "encodings" / f"{key_of(about)}.npz"
    job = _Job(descriptors_of, rows, extractor, encoder, train_rows, seed)
    if path.exists() and _damage(path, job) is None:
        return _load(path, job)
    with ExitStack() as held:
        with writing(path.parent, needed=0):
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked([path], display))
        if path.exists():  # damaged, or another process was faster
            problem = _damage(path, job)
            if problem is None:
                return _load(path, job)
            display.say(f"the cached encoding {path} is damaged ({problem}): computing it again")
        encoded = _compute(job, display)
        _save(path, encoded)
    return encoded


@dataclass(frozen=True, eq=False)
class _Job:
    descriptors_of: Callable[[int], np.ndarray]
    rows: int
    extractor: FeatureExtractor
    encoder: Encoder
    train_rows: np.ndarray
    seed: int

    def vectors(self, row: int) -> np.ndarray:
        return self.extractor.vectors(self.descriptors_of(row))
