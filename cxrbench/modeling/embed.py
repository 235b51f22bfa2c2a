"""What crosses the cut of a frozen backbone, computed once and shared by every probe recipe."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from cxrbench.interfaces import Display
from cxrbench.modeling.predict import padded_batches

EMBEDDING_VERSION = 1


def weights_digest(model: Any) -> str:
    """SHA-256 over a model's weights, their names and shapes."""
    digest = hashlib.sha256()
    for weight in model.weights:
        value = np.ascontiguousarray(weight.numpy() if hasattr(weight, "numpy") else weight)
        digest.update(f"{weight.path}:{value.shape}:{value.dtype}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def embed(
    embedder: Any,
    pixels: np.ndarray,
    rows: np.ndarray,
    *,
    key: str,
    batch_size: int,
    cache: Path,
    display: Display,
) -> np.ndarray:
    """The embedder's output for ``pixels`` (N, S, S) uint8: (N, ...) float32, memory-mapped.

    Only ``rows`` are computed; the others stay zero. ``key`` has to tell everything that shaped
    pixels and weights apart; a second call with the same one reads the file.
    """
    path = cache / "embeddings" / f"{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _compute(embedder, pixels, rows, path, batch_size, display)
    embedded: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return embedded


def _compute(
    embedder: Any,
    pixels: np.ndarray,
    rows: np.ndarray,
    path: Path,
    batch_size: int,
    display: Display,
) -> None:
    shape = (len(pixels), *embedder.output_shape[1:])
    building = path.with_suffix(".building.npy")
    out = np.lib.format.open_memmap(building, mode="w+", dtype=np.float32, shape=shape)
    with display.task("embedding", len(rows)) as advance:
        for batch, count in padded_batches(rows, batch_size):
            images = pixels[batch][..., None].astype(np.float32)
            out[batch[:count]] = np.asarray(embedder.predict_on_batch(images))[:count]
            advance(count)
    out.flush()
    del out
    # The name appears only once every row is in it.
    os.replace(building, path)
