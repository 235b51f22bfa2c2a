"""What crosses the cut of a frozen backbone, computed once and shared by every probe recipe."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.cache import locked, require_room, writing
from cxrbench.data.journal import DamagedStore, ImageFacts
from cxrbench.data.store_writer import StoreWriter, remove_store
from cxrbench.data.stores import StoreSpec, map_array, open_store
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import jit_compile
from cxrbench.modeling.predict import padded_batches

EMBEDDING_VERSION = 1
"""Part of every key; raised when the same pixels and weights would give other embeddings."""

# Divides the rows of a journal line, so that after a kill the batches, and with them the last
# bits of the result, are the ones that they would have been.
BATCH = 32

_FILE = "embeddings.bin"


def network_digest(model: Any) -> str:
    """SHA-256 over a model's layers and their settings, and over its weights and their shapes."""
    digest = hashlib.sha256(_without_names(model).encode())
    for value in model.get_weights():
        digest.update(f"{value.shape}:{value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _without_names(model: Any) -> str:
    # Keras numbers the layers that nobody named: the same network built later has other names.
    text: str = model.to_json()
    for number, name in enumerate(_names(json.loads(text))):
        text = text.replace(json.dumps(name), f'"#{number}"')
    return text


def _names(config: Any) -> Iterator[str]:
    """The names of all layers in a configuration, outer ones first."""
    if isinstance(config, dict):
        if "name" in config.get("config", {}) and config["class_name"] != "DTypePolicy":
            yield config["config"]["name"]
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _names(part)


def embed(
    embedder: Any,
    pixels: np.ndarray,
    *,
    about: Mapping[str, Any],
    cache: Path,
    display: Display,
) -> np.ndarray:
    """The embedder's output for ``pixels`` (N, S, S) uint8: (N, ...) float32, memory-mapped.

    ``about`` (plain values) has to tell everything that shaped pixels and network apart: a second
    call with the same one reads the store in ``embeddings/`` of the cache. A call that was killed
    is continued by the next one, two at once take turns, a damaged store is built again.

    Raises
    ------
    CacheError : the store cannot be written.
    """
    shape = (len(pixels), *embedder.output_shape[1:])
    row_bytes = 4 * math.prod(shape[1:])
    spec = StoreSpec(
        "embeddings", {"version": EMBEDDING_VERSION, **about}, len(pixels), (_FILE,), row_bytes
    )
    folder = spec.folder(cache)
    with ExitStack() as held:
        with writing(folder, 0):
            folder.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked([folder], display))
        writer = _unfinished(spec, cache, display)
        if writer is not None:
            _compute(embedder, pixels, held.enter_context(closing(writer)), folder, display)
    return map_array(folder / _FILE, shape, np.dtype(np.float32))


def _unfinished(spec: StoreSpec, cache: Path, display: Display) -> StoreWriter | None:
    folder = spec.folder(cache)
    try:
        if open_store(spec, cache) is not None:
            return None
        with writing(folder, 0):
            return StoreWriter(spec, cache)
    except DamagedStore as error:
        display.say(f"the embeddings in {folder} are damaged and computed again: {error}")
    with writing(folder, 0):
        remove_store(folder)
        return StoreWriter(spec, cache)


def _compute(
    embedder: Any, pixels: np.ndarray, writer: StoreWriter, folder: Path, display: Display
) -> None:
    embedder.jit_compile = jit_compile()
    require_room(folder, writer.bytes_left())
    with (
        writing(folder, writer.bytes_left),
        display.task("embedding", len(pixels)) as advance,
    ):
        advance(writer.rows)
        for rows, count in padded_batches(np.arange(writer.rows, len(pixels)), BATCH):
            images = pixels[rows][..., None].astype(np.float32)
            embedded = np.asarray(embedder.predict_on_batch(images), dtype=np.float32)
            for row in embedded[:count]:
                writer.append(ImageFacts(""), (row,), {})
            advance(count)
        writer.finish()
